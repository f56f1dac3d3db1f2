"""How a step converged: distance between proposals and best accuracy, as GPyOpt draws it."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tl_hpo.reporting.axes import Axis, further_axes
from tl_hpo.reporting.figures.accuracy_over_time import bound_accuracy, or_nan
from tl_hpo.reporting.figures.style import FAINT, INK, PALETTE, drawing, legend_below
from tl_hpo.reporting.records import Trial

Point = Sequence[float]

KINDS = {
    "COMPLETE": ("o", PALETTE[0], "finished"),
    "PRUNED": ("v", PALETTE[4], "cancelled early"),
}
"""Marker, colour and legend of each state that has an accuracy."""


def draw(
    trials: Sequence[Trial], path: Path, title: str, points: Sequence[Point] | None = None
) -> None:
    """Draw the trials of one step in order of their numbers.

    ``points`` holds the proposal of each trial scaled to [0, 1]; without it only the accuracies
    are drawn.
    """
    with drawing(path, 10, 4.6, title) as figure:
        panels = figure.subplots(1, 1 if points is None else 2, squeeze=False)[0]
        _accuracies(panels[-1], trials)
        if points is not None:
            _distances(panels[0], trials, points)
        for axes in panels:
            axes.set_xlabel("Trial")
            _span(axes, trials)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        handles = panels[-1].get_legend_handles_labels()[0]
        legend_below(figure, handles, columns=len(handles))


def scaled_points(trials: Sequence[Trial]) -> list[Point]:
    """Return the trials as points whose varying axes each span [0, 1].

    Learning rates count by their logarithm, the delimiting layer as a share of the layers; both
    are scaled by the range that the trials cover. A category has an axis per value, so that two
    different ones lie one apart. Parameters that never change have no axis.
    """
    numbers: list[list[float | None]] = [
        [math.log10(t.head_lr) if t.head_lr else None for t in trials],
        [math.log10(t.finetune_lr) if t.finetune_lr else None for t in trials],
        [_share(t) for t in trials],
    ]
    names = [
        [t.model for t in trials],
        [t.head_optimizer for t in trials],
        [t.finetune_optimizer for t in trials],
    ]
    for axis in further_axes(trials):
        if axis.is_category:
            names.append([str(value or "") for value in axis.values])
        else:
            numbers.append(_numbers(axis))
    axes = [_scaled(column) for column in numbers]
    axes += [axis for column in names for axis in _one_axis_per_value(column)]
    return list(zip(*axes, strict=True))


def _numbers(axis: Axis) -> list[float | None]:
    known = [value if isinstance(value, float) else None for value in axis.values]
    return [math.log10(value) if value and axis.log else value for value in known]


def _share(trial: Trial) -> float | None:
    if trial.delimiting_layer is None or not trial.n_layers:
        return None
    return trial.delimiting_layer / trial.n_layers


def _scaled(column: Sequence[float | None]) -> list[float]:
    known = [value for value in column if value is not None]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return [0.0 if value is None or not span else (value - low) / span for value in column]


def _one_axis_per_value(column: Sequence[str]) -> list[list[float]]:
    half = math.sqrt(0.5)  # the diagonal between two axes is then 1
    return [[half * (value == name) for value in column] for name in sorted(set(column))]


def _span(axes: Axes, trials: Sequence[Trial]) -> None:
    first, last = (bound(trial.number for trial in trials) for bound in (min, max))
    room = max(0.6, 0.03 * (last - first))
    axes.set_xlim(first - room, last + room)


def _distances(axes: Axes, trials: Sequence[Trial], points: Sequence[Point]) -> None:
    distances = [math.dist(before, after) for before, after in pairwise(points)]
    numbers = [trial.number for trial in trials[1:]]
    axes.plot(numbers, distances, color=PALETTE[1], marker="o", markersize=4, linewidth=1.3)
    highest = max(distances, default=0.0) or 1.0
    axes.set_ylim(-0.04 * highest, 1.06 * highest)  # below 0 so that markers on it stay whole
    axes.set_ylabel("Distance to the trial before")
    if not distances:
        axes.text(0.5, 0.5, "one trial only", transform=axes.transAxes, ha="center", color=FAINT)


def _accuracies(axes: Axes, trials: Sequence[Trial]) -> None:
    scored = [trial for trial in trials if trial.scored]
    for state, (marker, colour, label) in KINDS.items():
        own = [trial for trial in scored if trial.state == state]
        if own:
            numbers, values = [t.number for t in own], [or_nan(t.val_accuracy) for t in own]
            axes.scatter(numbers, values, s=26, c=colour, marker=marker, label=label)
    bests = list(accumulate(scored, _better))
    places = [trial.number for trial in scored]
    if scored:  # the line goes on over failed trials
        places, bests = [*places, trials[-1].number], [*bests, bests[-1]]
    values = [or_nan(best.val_accuracy) for best in bests]
    line = axes.step(places, values, where="post", label="best so far")[0]
    line.set(color=INK, linewidth=1.4, zorder=0.9)  # behind the trials
    axes.set_ylabel("Validation accuracy")
    bound_accuracy(axes)
    _failures(axes, [trial.number for trial in trials if trial.state == "FAIL"])


def _better(best: Trial, trial: Trial) -> Trial:
    return trial if trial.rank > best.rank else best


def _failures(axes: Axes, numbers: Sequence[int]) -> None:
    """Mark failed trials at the lower edge, as they have no accuracy."""
    if numbers:
        edge = axes.get_xaxis_transform()
        heights = [0.02] * len(numbers)
        axes.scatter(numbers, heights, transform=edge, marker="x", c=PALETTE[1], label="failed")
