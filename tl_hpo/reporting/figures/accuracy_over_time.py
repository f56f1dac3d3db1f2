"""Validation accuracy over wall-clock time, as in figures 5 and 8 of the paper."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tl_hpo.reporting.figures.style import (
    FAINT,
    INK,
    Look,
    drawing,
    legend_below,
    looks,
    shortened,
)
from tl_hpo.reporting.records import Epoch

DASHES = {"head": (0, (2.5, 1.5)), "finetune": "-"}
PHASES = {"head": "classification block", "finetune": "fine-tuning"}
BEST = "highest of any epoch so far"
UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
MANY_EPOCHS = 300
"""Beyond so many epochs the markers would hide the lines: only the ends have one."""


def draw(epochs: Sequence[Epoch], path: Path, title: str) -> None:
    """Draw every trial's epochs, one look per step, and the highest accuracy so far."""
    seen = looks(epoch.step for epoch in epochs)
    with drawing(path, 9, 5.5, title) as figure:
        axes = figure.add_subplot()
        unit = time_unit(epochs)
        panel(axes, epochs, seen, unit)
        bound_accuracy(axes)
        axes.set_xlabel(f"Elapsed time ({unit[0]})")
        axes.set_ylabel("Validation accuracy")
        handles = legend_handles(epochs, seen)
        legend_below(figure, handles, columns=min(3, len(handles)))


def panel(
    axes: Axes, epochs: Sequence[Epoch], seen: Mapping[str, Look], unit: tuple[str, float]
) -> None:
    """Draw the trials of one experiment on ``axes``; ``unit`` is (name, seconds)."""
    many = len(epochs) > MANY_EPOCHS
    for (step, _), trial in groupby(sorted(epochs, key=_order), key=lambda e: (e.step, e.number)):
        end: list[Epoch] = []
        for phase, part in groupby(trial, key=lambda e: e.phase):
            rows = end + list(part)
            axes.plot(
                [row.elapsed_seconds / unit[1] for row in rows],
                [or_nan(row.val_accuracy) for row in rows],
                linestyle=DASHES.get(phase, "-"),
                linewidth=1.3,
                marker=seen[step].marker,
                markersize=seen[step].size,
                markevery=[len(rows) - 1] if many else 1,
                color=seen[step].colour,
            )
            end = rows[-1:]
    times, highest = best_so_far(epochs)
    times = [time / unit[1] for time in times]
    axes.step(times, highest, where="post", color=INK, linewidth=1.4, zorder=1.5)  # behind trials


def best_so_far(epochs: Iterable[Epoch]) -> tuple[list[float], list[float]]:
    """Return the elapsed seconds of all epochs in order, and the highest accuracy until then."""
    known = sorted(
        (epoch.elapsed_seconds, epoch.val_accuracy)
        for epoch in epochs
        if epoch.val_accuracy is not None
    )
    return [time for time, _ in known], list(accumulate((value for _, value in known), max))


def time_unit(epochs: Iterable[Epoch]) -> tuple[str, float]:
    """Return the largest unit that the experiment lasts two of, with its length in seconds."""
    return unit_of(max((epoch.elapsed_seconds for epoch in epochs), default=0.0))


def unit_of(longest: float) -> tuple[str, float]:
    """Return the largest unit that ``longest`` seconds are two of, with its length in seconds."""
    return next((unit for unit in UNITS if longest >= 2 * unit[1]), UNITS[-1])


def bound_accuracy(axes: Axes) -> None:
    """Leave room around the lines, but show no accuracy that cannot be."""
    axes.margins(x=0.02, y=0.06)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.01), min(high, 1.01))


def legend_handles(epochs: Sequence[Epoch], seen: Mapping[str, Look]) -> list[Line2D]:
    """Return what stands for the steps, the phases that occur, and the highest so far."""
    steps = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            markersize=1.8 * look.size,
            linewidth=2.5,
            label=f"step {shortened(step, 30)}",
        )
        for step, look in seen.items()
    ]
    occurring = {epoch.phase for epoch in epochs}
    phases = [
        Line2D([], [], color=FAINT, linestyle=DASHES[phase], linewidth=1.6, label=label)
        for phase, label in PHASES.items()
        if phase in occurring
    ]
    return [*steps, *phases, Line2D([], [], color=INK, linewidth=1.4, label=BEST)]


def _order(epoch: Epoch) -> tuple[str, int, bool, int]:
    return epoch.step, epoch.number, epoch.phase != "head", epoch.epoch


def or_nan(value: float | None) -> float:
    """Return a number that matplotlib leaves a gap for where there is none."""
    return math.nan if value is None else value
