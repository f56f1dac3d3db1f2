"""Does a search gain from an earlier one on other images? Replayed on two tables of real trials.

For every seed a search on the earlier table comes first; then the same search on the table runs
once without it and once for each number of configurations that it may bring (`search.warm_start`,
`search.warm_trials`). Pairs of one seed are compared by the best trial after so many trials.

| word | meaning |
|---|---|
| trials | of the search, those that came from the earlier one included |
| accuracy | validation accuracy of the best trial so far, mean over the seeds |
| ± | half of the 95 % interval of a mean over the seeds (Student's t) |
| p | two-sided, paired over the seeds (t test), not corrected |
"""

import argparse
import functools
import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import make_parser, positive, print_header, refuse, say
from bench.common import table as markdown
from bench.regret import mean_interval, paired
from bench.replay import compose_search, replay
from bench.replay_runs import one_thread_each
from bench.replay_table import read_table
from tl_hpo.search.earlier import Earlier, configurations
from tl_hpo.search.study import open_storage

Array = np.ndarray

TABLE = Path(__file__).parent / "table.parquet"
EARLIER = Path(__file__).parent / "table_phantom.parquet"
OTHER_SEEDS = 10_000  # the earlier search is no repetition of the later one
AFTER = (3, 5, 10, 20, 40)  # trials: the rows of the table


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay and print the table."""
    options = _parse(arguments)
    print_header("warm", arguments, "cpu")
    found = run_all(options)
    print(markdown(rows(found)))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("warm", __doc__)
    add = parser.add_argument
    add("--table", type=Path, default=TABLE, help="FILE.parquet of the search")
    add("--earlier", type=Path, default=EARLIER, help="FILE.parquet of the earlier search")
    add("--strategy", default="joint", help="of both searches (default: joint)")
    add("--earlier-trials", type=positive, default=20, help="of the earlier search (default: 20)")
    add("--trials", type=positive, default=40, help="of the search (default: 40)")
    add(
        "--warm-trials", type=positive, nargs="+", default=[1, 3, 5],
        help="configurations that it may bring (default: 1 3 5)",
    )  # fmt: skip
    add("--seeds", type=positive, default=50, help="searches of every kind (default: 50)")
    add("--workers", type=positive, default=2, help="processes (default: 2)")
    options = parser.parse_args(arguments)
    for path in (options.table, options.earlier):
        if not path.is_file():
            refuse(f"a table must be a file, got {path}; record it by bench.table")
    if options.seeds < 2:
        refuse("--seeds must be at least 2 for an interval, got 1")
    return options


def run_all(options: argparse.Namespace) -> dict[int, Array]:
    """Return validation accuracies by the number of earlier configurations; [seeds, trials]."""
    context = multiprocessing.get_context("spawn")
    found: dict[int, list[list[float]]] = {0: [], **{n: [] for n in options.warm_trials}}
    with one_thread_each(), ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        seeds = pool.map(functools.partial(run_seed, options), range(options.seeds))
        for done, of_seed in enumerate(seeds, 1):
            for n, accuracies in of_seed.items():
                found[n].append(accuracies)
            if done % 10 == 0 or done == options.seeds:
                say(f"{done} of {options.seeds} seeds")
    return {n: np.array(each) for n, each in found.items()}


def run_seed(options: argparse.Namespace, seed: int) -> dict[int, list[float]]:
    """Return the validation accuracies of one seed's searches, in the order of training."""
    table, overrides = read_table(options.table), _overrides(options)
    config = compose_search(overrides, table, options.trials)
    found = earlier(options, overrides, seed)

    def accuracies(**more: Any) -> list[float]:
        return [trial.validation for trial in replay(config, table, seed, **more)]

    warm = {n: accuracies(warm_start=found, warm_trials=n) for n in options.warm_trials}
    return {0: accuracies(), **warm}


def earlier(options: argparse.Namespace, overrides: Sequence[str], seed: int) -> Sequence[Earlier]:
    """Return what a search on the earlier table finds, the best first."""
    table = read_table(options.earlier)
    config = compose_search(overrides, table, options.earlier_trials)
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(Path(folder) / "study.db")
        replay(config, table, OTHER_SEEDS + seed, storage=storage)
        return configurations([Path(folder)])


def _overrides(options: argparse.Namespace) -> list[str]:
    return [f"strategy={options.strategy}", "sampler=gpyopt"]


def rows(found: dict[int, Array]) -> list[dict[str, str]]:
    """Return the accuracy without earlier configurations, and what so many of them add."""
    best = {n: np.maximum.accumulate(each, axis=1) for n, each in found.items()}
    trials = best[0].shape[1]
    return [
        {"trials": str(n), **_row({k: each[:, n - 1] for k, each in best.items()})}
        for n in sorted({*(n for n in AFTER if n < trials), trials})
    ]


def _row(best: dict[int, Array]) -> dict[str, str]:
    mean, half = mean_interval(best[0])
    row = {"accuracy without": f"{mean:.4f} ± {half:.4f}"}
    for n in sorted(best.keys() - {0}):
        gain = paired(best[n], best[0])
        row[f"with {n}"] = f"{gain.difference:+.4f} ± {gain.half:.4f}, p = {gain.p_t:.2g}"
    return row


if __name__ == "__main__":
    main()
