"""Make the tables and figures of a run folder again: ``python -m tl_hpo.reporting RUN_FOLDER``."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tl_hpo.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Report on the run folder named on the command line; return the exit code, 0 or 2."""
    parser = argparse.ArgumentParser(prog="python -m tl_hpo.reporting", description=__doc__)
    parser.add_argument("run_folder", type=Path, help="folder that optimize.py wrote to")
    run_folder = parser.parse_args(arguments).run_folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from tl_hpo.reporting.report import write_report  # --help need not wait for matplotlib

    try:
        for path in write_report(run_folder):
            print(path)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
