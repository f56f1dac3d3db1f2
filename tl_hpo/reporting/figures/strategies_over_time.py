"""The strategies of one dataset together: validation accuracy over wall-clock time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from tl_hpo.reporting.figures.accuracy_over_time import (
    best_so_far,
    bound_accuracy,
    legend_handles,
    panel,
    time_unit,
)
from tl_hpo.reporting.figures.style import drawing, legend_below, looks, shortened
from tl_hpo.reporting.records import Epoch

STRATEGY_COLOURS = ("#332288", "#882255", "#117733", "#999933", "#AA4499", "#44AA99")
"""Tol's muted colours: none of them stands for a step in the panels above."""

STYLES = ("-", "--", "-.")


def draw(strategies: Mapping[str, Sequence[Epoch]], path: Path, title: str) -> None:
    """Draw a panel per strategy with its trials, and one with the highest so far of each.

    ``strategies`` maps names of at most six experiments to their epochs, none of them empty.
    """
    names = list(strategies)
    everything = [epoch for name in names for epoch in strategies[name]]
    unit = time_unit(everything)
    seen = looks(epoch.step for epoch in everything)
    with drawing(path, 9, 2.3 * (len(names) + 1) + 0.9, title) as figure:
        panels = figure.subplots(len(names) + 1, 1, sharex=True, sharey=True)
        for axes, name in zip(panels, names, strict=False):
            panel(axes, strategies[name], seen, unit)
            axes.set_title(shortened(name, 80), loc="left")
        _overlay(panels[-1], strategies, unit)
        bound_accuracy(panels[-1])
        panels[-1].set_xlabel(f"Elapsed time ({unit[0]})")
        figure.supylabel("Validation accuracy", fontsize=11)
        handles = legend_handles(everything, seen)
        legend_below(figure, handles, columns=min(3, len(handles)))


def _overlay(
    axes: Axes, strategies: Mapping[str, Sequence[Epoch]], unit: tuple[str, float]
) -> None:
    """Draw the highest so far of each strategy, told apart by colour and by dashes."""
    for index, (name, epochs) in enumerate(strategies.items()):
        times, highest = best_so_far(epochs)
        axes.step(
            [time / unit[1] for time in times],
            highest,
            where="post",
            color=STRATEGY_COLOURS[index % len(STRATEGY_COLOURS)],
            linestyle=STYLES[index % len(STYLES)],
            linewidth=2,
            label=shortened(name, 40),
        )
    axes.set_title("highest of any epoch so far, of each", loc="left")
    # What only rises leaves the lower right free.
    axes.legend(loc="lower right", frameon=True, framealpha=0.85, edgecolor="none")
