"""The figures of `bench.searches`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bench.regret import mean_interval, of_incumbent, over_time, simple_regret
from bench.replay_runs import PAPER, RANDOM, Results, Runs
from bench.replay_table import Table
from bench.searches_tables import depth_curves
from tl_hpo.reporting.figures.style import FAINT, INK, PALETTE, drawing, legend_below

Array = np.ndarray
Line = Callable[[Runs], tuple[Array, Array]]
"""Returns places on the x axis [points] and values [seeds, points]."""

COLOURS = (*PALETTE, "#332288", "#882255", "#999933")
REFERENCES = {RANDOM: (FAINT, "--"), PAPER: (INK, "--"), "joint-gpyopt_paper": (INK, ":")}
POINTS = 200  # in time
BAND = 0.13  # opacity of the intervals


def draw_all(results: Results, table: Table, folder: Path) -> None:
    """Write every figure to ``folder``."""
    runs = {name: budgets[max(budgets)] for name, budgets in results.items()}
    optimum = table.optimum()
    panels(
        runs, folder / "regret_trials.png", "Simple regret by trials", "Trials",
        "Simple regret (validation accuracy)", lambda each: _by_trials(each, optimum), regret=True,
    )  # fmt: skip
    panels(
        runs, folder / "regret_seconds.png", "Simple regret by time of training",
        "Seconds of training", "Simple regret (validation accuracy)",
        lambda each: _by_seconds(each, optimum, table.majority_share), regret=True,
    )  # fmt: skip
    gaps(runs, folder / "gap.png")
    depths(table, folder / "depths.png")


def panels(
    runs: Mapping[str, Runs],
    path: Path,
    title: str,
    x: str,
    y: str,
    line: Line,
    regret: bool = False,
) -> None:
    """Draw the samplers on one strategy, and the strategies with one sampler, with 95 % bands."""
    with drawing(path, 11, 5.2, f"{title} (mean, 95 % interval)") as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for each, (name, labels) in zip(axes, groups(runs).items(), strict=True):
            colours = iter(COLOURS)
            for search, label in labels.items():
                style = REFERENCES.get(search) or (next(colours), "-")
                _band(each, *line(runs[search]), label, *style)
            each.set_title(name, loc="left")
            each.set_xlabel(x)
            each.xaxis.set_major_locator(MaxNLocator(integer=True))
            if labels:
                each.legend(fontsize=9, ncols=2, loc="upper right")
        axes[0].set_ylabel(y)
        if regret:
            _log_regret(axes)


def groups(runs: Mapping[str, Runs]) -> dict[str, dict[str, str]]:
    """Return which searches the panels show, by their titles, and the labels of the lines."""
    samplers = {name: name.removeprefix("joint-") for name in runs if name.startswith("joint-")}
    strategies = {name: name.removesuffix("-gpyopt") for name in runs if name.endswith("-gpyopt")}
    references = {PAPER: "the paper's", RANDOM: "joint, random"}
    strategies |= {name: label for name, label in references.items() if name in runs}
    return {"Samplers, strategy joint": samplers, "Strategies, sampler gpyopt": strategies}


def _by_trials(runs: Runs, optimum: float) -> tuple[Array, Array]:
    regret = simple_regret(runs.validation, optimum)
    return np.arange(1, regret.shape[1] + 1), regret


def _by_seconds(runs: Runs, optimum: float, majority_share: float) -> tuple[Array, Array]:
    """Return regret up to the time when half of the searches are over."""
    times = np.linspace(0, float(np.median(runs.seconds.sum(axis=1))), POINTS)
    regret = simple_regret(runs.validation, optimum)
    return times, over_time(regret, runs.seconds, times, optimum - majority_share)


def _band(axes: Axes, x: Array, values: Array, label: str, colour: str, style: str) -> None:
    mean, half = mean_interval(values)
    axes.plot(x, mean, color=colour, linestyle=style, linewidth=1.8, label=label)
    axes.fill_between(x, mean - half, mean + half, color=colour, alpha=BAND, linewidth=0)


def _log_regret(panels: Sequence[Axes]) -> None:
    """Make the shared y axis logarithmic, from the lowest to the highest mean."""
    means = np.concatenate([line.get_ydata() for axes in panels for line in axes.get_lines()])
    axes = panels[0]
    axes.set_yscale("log")
    axes.set_ylim(0.7 * means[means > 0].min(), 1.6 * means.max())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def gaps(runs: Mapping[str, Runs], path: Path) -> None:
    """Draw accuracies of the incumbent after all trials, and the gap between them."""
    names = list(runs)[::-1]  # the first one on top
    validation = [runs[name].validation.max(axis=1) for name in names]
    test = [of_incumbent(runs[name].test, runs[name].validation)[:, -1] for name in names]
    title = "The incumbent after all trials (mean, 95 % interval)"
    with drawing(path, 9.5, 0.3 * len(names) + 1.8, title) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _points(left, validation, "validation", PALETTE[0])
        _points(left, test, "test", PALETTE[1])
        gap = [v - t for v, t in zip(validation, test, strict=True)]
        _points(right, gap, "validation minus test", INK)
        right.axvline(0, color=FAINT, linewidth=1)
        left.set_yticks(range(len(names)), names)
        left.set_xlabel("Accuracy")
        right.set_xlabel("Validation minus test accuracy")
        legend_below(figure, left.get_legend_handles_labels()[0], columns=2)


def _points(axes: Axes, values: Sequence[Array], label: str, colour: str) -> None:
    mean, half = np.transpose([mean_interval(each) for each in values])
    axes.errorbar(
        mean, range(len(values)), xerr=half, fmt="o", color=colour, markersize=4.5,
        linewidth=1.3, label=label,
    )  # fmt: skip


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
        for each in axes[-columns:]:
            each.set_xlabel("Share of the layers that stay frozen")
        for unused in axes[len(table.models) :]:
            unused.set_visible(False)
        figure.supylabel("Accuracy", fontsize=11)
        legend_below(figure, axes[0].get_legend_handles_labels()[0], columns=2)
