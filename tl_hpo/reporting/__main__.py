"""Make the tables, figures and page of a run folder again, or compare several run folders.

``python -m tl_hpo.reporting RUN_FOLDER`` or ``python -m tl_hpo.reporting RUN_FOLDER RUN_FOLDER…``
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tl_hpo.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Report on the run folders named on the command line; return the exit code, 0 or 2."""
    told = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for path in _written(told.run_folders, told.output):
            print(path)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tl_hpo.reporting",
        description="Make the report of a run folder again, or a comparison of several.",
    )
    parser.add_argument(
        "run_folders",
        metavar="RUN_FOLDER",
        nargs="+",
        type=Path,
        help="folder that optimize.py wrote to; with several, comparison.html sets them side by "
        "side",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="where comparison.html goes; by default the folder that the others have in common",
    )
    return parser


def _written(folders: Sequence[Path], output: Path | None) -> list[Path]:
    if len(folders) > 1:
        from tl_hpo.reporting.several import write_comparison

        return write_comparison(folders, output)
    if output is not None:
        raise UserError(
            f"--output must go with several run folders, got {str(output)!r} and one; the report "
            "of a run folder is written into it."
        )
    from tl_hpo.reporting.report import write_report  # --help need not wait for matplotlib

    return write_report(folders[0])


if __name__ == "__main__":
    sys.exit(main())
