"""How much of their time do workers spend on trials? Trials wait; the search around them is real.

| column | meaning |
|---|---|
| ideal | seconds that the trials would take if proposing and recording them took none |
| took | seconds from the beginning of the first trial to the end; workers run already |
| share | ideal / took |

Trials wait without computing, so that four workers need no four cores.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import make_parser, positive, print_header, quiet, say
from bench.common import table as markdown
from bench.simulated import Waiting, waiting_plan, waiting_setup
from tl_hpo.search.executors.local import ProcessExecutor
from tl_hpo.search.executors.slots import Slot
from tl_hpo.search.experiment import Experiment
from tl_hpo.training.result import TrialResult

SECONDS = (0.1, 1.0, 10.0)
WORKERS = (1, 2, 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = _parse(arguments)
    print_header("throughput", arguments, "cpu")
    with quiet():
        rows = [_measure(s, n, options) for s in options.seconds for n in options.workers]
    print(markdown(rows))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("throughput", __doc__)
    add = parser.add_argument
    add("--seconds", type=float, nargs="+", default=SECONDS, help="per trial (default: 0.1 1 10)")
    add("--workers", type=positive, nargs="+", default=WORKERS, help="at once (default: 1 2 4)")
    add("--rounds", type=positive, default=10, help="trials per worker, 3 of 10 s (default: 10)")
    add("--sampler", default="random", help="of conf/sampler (default: random)")
    return parser.parse_args(arguments)


def _measure(seconds: float, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    rounds = options.rounds if seconds < 10 else math.ceil(options.rounds / 4)
    trials = rounds * workers
    setup = waiting_setup(seconds, sys.path)
    executor = _Watched(lambda slot: setup, [Slot((), 1 / workers, 1)] * workers)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run(Path(folder) / "start", workers, seconds, executor, "random")
            executor.begun = None
            _run(Path(folder) / "run", trials, seconds, executor, options.sampler)
            assert executor.begun is not None
            took = time.monotonic() - executor.begun
        finally:
            executor.close()
    ideal = rounds * seconds
    say(f"{workers} workers, trials of {seconds} s: {ideal / took:.2f}")
    return {
        "seconds per trial": seconds, "workers": workers, "trials": trials,
        "ideal": ideal, "took": took, "share": ideal / took,
    }  # fmt: skip


class _Watched(ProcessExecutor):
    """Notes when its first trial begins."""

    begun: float | None = None

    def run(self, *arguments: Any) -> TrialResult:
        """Run one trial."""
        if self.begun is None:
            self.begun = time.monotonic()
        return super().run(*arguments)


def _run(
    folder: Path, trials: int, seconds: float, executor: ProcessExecutor, sampler: str
) -> None:
    plan = waiting_plan(folder, trials, f"sampler={sampler}")
    Experiment(plan, Waiting(seconds), executor=executor).run()


if __name__ == "__main__":
    main()
