"""The tables of `bench.searches`, in Markdown."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.common import table as markdown
from bench.regret import Paired, holm, mean_interval, of_incumbent, over_time, paired, simple_regret
from bench.replay_runs import OURS, PAPER, RANDOM, SAME_START, Results, Runs
from bench.replay_table import OWN, Table

Array = np.ndarray

LATE = 10  # trials at the end, whose proposals have the most to learn from
TIMES = (0.25, 0.5, 1.0)  # of the training time that every search has had


def write_all(results: Results, table: Table) -> None:
    """Print every table."""
    optimum = table.optimum()
    print(
        f"{_seeds(results)} seeds. The best trial of the table has validation accuracy "
        f"{optimum:.4f}, the best with one set for both phases {table.optimum((OWN,)):.4f}.\n"
    )
    for title, rows in (
        ("Simple regret by budget in trials", regrets(results, optimum)),
        (f"Against random search ({RANDOM})", tests(results, optimum, against(results, RANDOM))),
        (f"Against the paper's search ({PAPER})", tests(results, optimum, against(results, PAPER))),
        (f"{OURS} against other models", tests(results, optimum, models(results))),
        ("Simple regret by seconds of training", times(results, optimum, table.majority_share)),
        ("The incumbent at the end", incumbents(results)),
        ("Seconds of processor time per proposal", proposals(results)),
        ("Does the delimiting layer matter?", depths(table)),
    ):
        if rows:
            print(f"### {title}\n\n{markdown(rows)}\n")


def regrets(results: Results, optimum: float) -> list[dict[str, str]]:
    """Return mean simple regret at every budget."""
    return [
        {
            "search": name,
            **{f"{n} trials": _mean(last_regret(runs, optimum)) for n, runs in budgets.items()},
        }
        for name, budgets in results.items()
    ]


def last_regret(runs: Runs, optimum: float) -> Array:
    """Return the simple regret at the end of every search; [seeds]."""
    return simple_regret(runs.validation, optimum)[:, -1]


def against(results: Results, reference: str) -> list[tuple[str, str]]:
    """Return the pairs of every other search and ``reference``, if it was replayed."""
    others = [name for name in results if name != reference]
    return [(name, reference) for name in others] if reference in results else []


def models(results: Results) -> list[tuple[str, str]]:
    """Return the pairs of gpyopt and other model-based samplers on the same strategy."""
    others = ("joint-tpe", SAME_START, "joint-gp10", "joint-gpyopt_plain", "joint-gpyopt_paper")
    return [(OURS, other) for other in others if OURS in results and other in results]


def tests(
    results: Results, optimum: float, pairs: Sequence[tuple[str, str]]
) -> list[dict[str, str]]:
    """Return paired tests of regret at every budget; p corrected for all of them."""
    found = [
        (n, a, b, paired(last_regret(results[a][n], optimum), last_regret(results[b][n], optimum)))
        for a, b in pairs
        for n in results[a]
    ]
    return list(_tested(found)) if found else []


def _tested(found: Sequence[tuple[int, str, str, Paired]]) -> Iterator[dict[str, str]]:
    by_t = holm(np.array([each.p_t for *_, each in found]))
    by_rank = holm(np.array([each.p_wilcoxon for *_, each in found]))
    for (n, a, b, each), t, rank in zip(found, by_t, by_rank, strict=True):
        yield {
            "search": a,
            "against": b,
            "trials": str(n),
            "difference": f"{each.difference:+.4f} ± {each.half:.4f}",
            "p (t)": _p(each.p_t),
            "Holm (t)": _p(t),
            "p (Wilcoxon)": _p(each.p_wilcoxon),
            "Holm (Wilcoxon)": _p(rank),
        }


def times(results: Results, optimum: float, majority_share: float) -> list[dict[str, str]]:
    """Return mean simple regret at points in time up to which most of all searches still ran."""
    longest = {name: runs[max(runs)] for name, runs in results.items()}
    common = min(float(np.median(runs.seconds.sum(axis=1))) for runs in longest.values())
    grid = np.array(TIMES) * common
    rows = []
    for name, runs in longest.items():
        regret = simple_regret(runs.validation, optimum)
        values = over_time(regret, runs.seconds, grid, optimum - majority_share)
        cells = {f"{t:.0f} s": _mean(column) for t, column in zip(grid, values.T, strict=True)}
        total = f"{runs.seconds.sum(axis=1).mean():.0f}"
        rows.append({"search": name, **cells, "seconds of all trials": total})
    return rows


def incumbents(results: Results) -> list[dict[str, str]]:
    """Return accuracies of the incumbent after the largest budget, and the gap between them."""
    rows = []
    for name, budgets in results.items():
        runs = budgets[max(budgets)]
        validation = runs.validation.max(axis=1)
        test = of_incumbent(runs.test, runs.validation)[:, -1]
        rows.append(
            {
                "search": name,
                "validation": _mean(validation),
                "test": _mean(test),
                "validation - test": _mean(validation - test),
            }
        )
    return rows


def proposals(results: Results) -> list[dict[str, str]]:
    """Return the time between the end of a trial and the beginning of the next."""
    rows = []
    for name, budgets in results.items():
        seconds = budgets[max(budgets)].proposal
        rows.append(
            {
                "search": name,
                "median": f"{np.median(seconds):.3f}",
                f"mean of the last {LATE}": f"{seconds[:, -LATE:].mean():.3f}",
                "longest": f"{seconds[:, 1:].max():.3f}",  # the first one waits for imports
            }
        )
    return rows


def depths(table: Table) -> list[dict[str, str]]:
    """Return the best validation accuracy at every depth, and its test accuracy."""
    rows = []
    for model in table.models:
        for kind, (validation, test) in depth_curves(table, model).items():
            pairs = zip(table.depths, validation, test, strict=True)
            cells = {f"{depth:g}": f"{v:.3f} / {t:.3f}" for depth, v, t in pairs}
            rows.append({"model": model, "optimizer and rate": kind, **cells})
    return rows


def depth_curves(table: Table, model: str) -> Mapping[str, tuple[Array, Array]]:
    """Return validation and test accuracy by depth, both [depths].

    Either the optimizer and rate that validate best at each depth, or those that do at any.
    """
    validation, test = (each.reshape(-1, len(table.depths)) for each in table.finals(model))
    best = validation.argmax(axis=0)
    at = np.arange(len(table.depths))
    one = int(validation.max(axis=1).argmax())
    return {
        "best at each depth": (validation[best, at], test[best, at]),
        "best at any depth": (validation[one], test[one]),
    }


def _seeds(results: Results) -> int:
    return len(next(iter(next(iter(results.values())).values())).validation)


def _mean(values: Array) -> str:
    mean, half = mean_interval(values)
    return f"{mean:.4f} ± {half:.4f}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
