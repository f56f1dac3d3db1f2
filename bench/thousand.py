"""A thousand workers on one experiment: where is the limit? Trials wait; all else is real.

| column | meaning |
|---|---|
| workers | that run trials at the same time |
| wanted | trials that they would end per second if each got its next one at once |
| trials/s | that they ended, once all of them were at work |
| busy | share of their time that they spent on trials |
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import make_parser, positive, print_header, quiet, say
from bench.common import table as markdown
from bench.simulated import Threads, Waiting, waiting_plan
from tl_hpo.search.experiment import Experiment
from tl_hpo.training.result import KeepModel, Report, TrialResult

WORKERS = (10, 100, 1000)
ROUNDS = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = _parse(arguments)
    print_header("thousand", arguments, "cpu")
    rows = []
    for workers in options.workers:
        with quiet():
            rows.append(_measure(workers, options.seconds, options.sampler))
        say(f"{workers} workers: busy {rows[-1]['busy']:.2f}")
    print(markdown(rows))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("thousand", __doc__)
    add = parser.add_argument
    add("--workers", type=positive, nargs="+", default=WORKERS, help="default: 10 100 1000")
    add("--seconds", type=float, default=60.0, help="per trial (default: 60)")
    add("--sampler", default="random", help="of conf/sampler (default: random)")
    return parser.parse_args(arguments)


class _Watched(Threads):
    """Notes when trials begin and end."""

    def __init__(self, seconds: float, workers: int) -> None:
        super().__init__(seconds, workers)
        self._guard = threading.Lock()
        self.begun: list[float] = []
        self.ended: list[float] = []

    def run(
        self, overrides: Sequence[str], folder: Path, report: Report, keep_model: KeepModel
    ) -> TrialResult:
        """Run one trial."""
        with self._guard:
            self.begun.append(time.monotonic())
        try:
            return super().run(overrides, folder, report, keep_model)
        finally:
            with self._guard:
                self.ended.append(time.monotonic())


def _measure(workers: int, seconds: float, sampler: str) -> dict[str, Any]:
    executor = _Watched(seconds, workers)
    trials = ROUNDS * workers
    with tempfile.TemporaryDirectory() as folder:
        plan = waiting_plan(Path(folder) / "run", trials, f"sampler={sampler}")
        began = time.monotonic()
        Experiment(plan, Waiting(seconds), executor=executor).run()
        took = time.monotonic() - began
    full = executor.begun[workers - 1]  # all have had their first trial
    after = [moment for moment in executor.ended if moment > full]
    rate = len(after) / (executor.ended[-1] - full)
    return {
        "workers": workers, "s per trial": seconds, "trials": trials, "took": took,
        "wanted": workers / seconds, "trials/s": rate, "busy": trials * seconds / (workers * took),
    }  # fmt: skip


if __name__ == "__main__":
    main()
