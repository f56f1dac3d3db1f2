"""The figures of `bench.searches`."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.regret import mean_interval, of_incumbent, over_time, simple_regret
from bench.replay_runs import PAPER, RANDOM, Results, Runs
from bench.replay_table import Table
from bench.searches_tables import depth_curves
from tl_hpo.reporting.figures.style import PALETTE, drawing, legend_below

Array = np.ndarray
Line = Callable[[Runs], tuple[Array, Array]]
"""Returns places on the x axis [points] and values [seeds, points]."""

COLOURS = (*PALETTE, "#332288", "#882255", "#999933")
POINTS = 200  # in time
BAND = 0.13  # opacity of the intervals
FLOOR = 1e-3  # of a logarithmic axis: where an interval reaches zero


def draw_all(results: Results, table: Table, folder: Path) -> None:
    """Write every figure to ``folder``."""
    runs = {name: budgets[max(budgets)] for name, budgets in results.items()}
    optimum = table.optimum()
    panels(
        runs, folder / "regret_trials.png", "Simple regret by trials", "Trials",
        "Simple regret (validation accuracy)", lambda each: _by_trials(each, optimum), log=True,
    )  # fmt: skip
    panels(
        runs, folder / "regret_seconds.png", "Simple regret by time of training",
        "Seconds of training", "Simple regret (validation accuracy)",
        lambda each: _by_seconds(each, optimum, table.majority_share), log=True,
    )  # fmt: skip
    panels(
        runs, folder / "gap.png", "How much the incumbent's validation accuracy promises too much",
        "Trials", "Validation minus test accuracy", _gap,
    )  # fmt: skip
    depths(table, folder / "depths.png")


def panels(
    runs: Mapping[str, Runs], path: Path, title: str, x: str, y: str, line: Line, log: bool = False
) -> None:
    """Draw the samplers on one strategy, and the strategies with one sampler, with 95 % bands."""
    with drawing(path, 11, 5.2, f"{title}: mean and 95 % interval over the seeds") as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for each, (name, lines) in zip(axes, groups(runs).items(), strict=True):
            for index, (label, own) in enumerate(lines.items()):
                _band(each, *line(own), label, COLOURS[index % len(COLOURS)])
            each.set_title(name, loc="left")
            each.set_xlabel(x)
            if log:
                _log_regret(each)
            if lines:
                each.legend(fontsize=8.5, ncols=2, loc="upper right" if log else "best")
        axes[0].set_ylabel(y)


def groups(runs: Mapping[str, Runs]) -> dict[str, dict[str, Runs]]:
    """Return the lines of both panels by their labels."""
    sampler = {
        name.removeprefix("joint-"): own for name, own in runs.items() if name.startswith("joint-")
    }
    strategy = {
        name.removesuffix("-gpyopt"): own for name, own in runs.items() if name.endswith("-gpyopt")
    }
    others = {"the paper's": PAPER, "joint, random": RANDOM}
    strategy |= {label: runs[name] for label, name in others.items() if name in runs}
    return {"Samplers, strategy joint": sampler, "Strategies, sampler gpyopt": strategy}


def _by_trials(runs: Runs, optimum: float) -> tuple[Array, Array]:
    regret = simple_regret(runs.validation, optimum)
    return np.arange(1, regret.shape[1] + 1), regret


def _by_seconds(runs: Runs, optimum: float, majority_share: float) -> tuple[Array, Array]:
    """Return regret up to the time when half of the searches are over."""
    times = np.linspace(0, float(np.median(runs.seconds.sum(axis=1))), POINTS)
    regret = simple_regret(runs.validation, optimum)
    return times, over_time(regret, runs.seconds, times, optimum - majority_share)


def _gap(runs: Runs) -> tuple[Array, Array]:
    gap = of_incumbent(runs.validation - runs.test, runs.validation)
    return np.arange(1, gap.shape[1] + 1), gap


def _band(axes: Axes, x: Array, values: Array, label: str, colour: str) -> None:
    mean, half = mean_interval(values)
    axes.plot(x, mean, color=colour, linewidth=1.8, label=label)
    axes.fill_between(x, mean - half, mean + half, color=colour, alpha=BAND, linewidth=0)


def _log_regret(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=max(FLOOR, axes.get_ylim()[0]))


def depths(table: Table, path: Path) -> None:
    """Draw what the delimiting layer changes, a panel per model."""
    styles = {"best at each depth": "-", "best at any depth": "--"}
    columns = min(2, len(table.models))
    rows = -(-len(table.models) // columns)
    title = "What the delimiting layer changes: best trials of the table"
    with drawing(path, 9, 2.9 * rows + 1, title) as figure:
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for each, model in zip(axes, table.models, strict=False):
            for kind, (validation, test) in depth_curves(table, model).items():
                for values, side, colour in (
                    (validation, "validation", PALETTE[0]),
                    (test, "test", PALETTE[1]),
                ):
                    each.plot(
                        table.depths, values, styles[kind], color=colour, marker="o", markersize=4,
                        label=f"{side}, optimizer and rate {kind}",
                    )  # fmt: skip
            each.set_title(model, loc="left")
        for unused in axes[len(table.models) :]:
            unused.set_visible(False)
        figure.supxlabel("Share of the layers that stay frozen", fontsize=11)
        figure.supylabel("Accuracy", fontsize=11)
        legend_below(figure, axes[0].get_legend_handles_labels()[0], columns=2)
