"""Replay every strategy and sampler on the table of real trials, and say which search to use.

Each search runs once per seed, by the project's own code with its own configuration; only the
training is looked up in the table that `bench.table` recorded. All have the same number of trials
in all, whatever their steps. What depends on that number (steps, initial designs) runs once per
budget; of the others a smaller budget is the beginning of the largest.

| word | meaning |
|---|---|
| search | STRATEGY-SAMPLER |
| gp, gp10 | Optuna's GP: from the initial design of gpyopt, from its own 10 random trials |
| gpyopt_paper | GPyOpt's defaults on raw axes, that of the learning rate linear, as in the paper |
| regret | best validation accuracy of the table minus that of the search's best trial so far |
| ± | half of the 95 % interval of a mean over the seeds (Student's t) |
| p | two-sided, paired over the seeds; Holm: corrected for the tests of the same table |
| seconds | of training, as recorded on one core |

The tables are printed, the figures written to a folder. A run that is cut off goes on where it was.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.common import make_parser, positive, print_header, refuse
from bench.replay_runs import SEARCHES, Search, one_thread_each, run_all
from bench.replay_table import LINEAR, NEAREST, read_table
from bench.searches_figures import draw_all
from bench.searches_tables import write_all

TABLE = Path(__file__).parent / "table.parquet"
FIGURES = Path("runs/searches")  # not those of docs, which a quick look must not replace
KEPT = Path("runs/.searches")


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay, print the tables and draw the figures."""
    options = _parse(arguments)
    table = read_table(options.table, options.between)
    print_header("searches", arguments, "cpu")
    with one_thread_each():
        results = run_all(options)
    write_all(results, table)
    draw_all(results, table, options.out)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("searches", __doc__)
    add = parser.add_argument
    add("--table", type=Path, default=TABLE, help="FILE.parquet (default: that of bench)")
    add("--seeds", type=positive, default=50, help="searches of every kind (default: 50)")
    add(
        "--trials", type=positive, nargs="+", default=[10, 20, 40],
        help="budgets in trials (default: 10 20 40)",
    )  # fmt: skip
    add("--workers", type=positive, default=2, help="processes (default: 2)")
    add(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"of {' '.join(SEARCHES)} (default: all but the dearest)",
    )
    add(
        "--between", choices=(LINEAR, NEAREST), default=LINEAR,
        help="what stands between recorded trials (default: linear)",
    )  # fmt: skip
    add("--out", type=Path, default=FIGURES, help=f"for the figures (default: {FIGURES})")
    add("--folder", type=Path, default=KEPT, help=f"for what is replayed so far (default: {KEPT})")
    options = parser.parse_args(arguments)
    options.trials = sorted(set(options.trials))
    options.searches = _chosen(options.only)
    if not options.table.is_file():
        refuse(f"the table must be a file, got {options.table}; record it by bench.table")
    if options.seeds < 2:
        refuse("--seeds must be at least 2 for an interval, got 1")
    return options


def _chosen(names: Sequence[str] | None) -> list[Search]:
    for name in names or ():
        if name not in SEARCHES:
            refuse(f"--only must name searches, got {name}; there are {', '.join(SEARCHES)}")
    usual = [name for name, search in SEARCHES.items() if not search.asked]
    return [SEARCHES[name] for name in names or usual]


if __name__ == "__main__":
    main()
