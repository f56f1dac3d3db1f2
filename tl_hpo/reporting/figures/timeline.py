"""The classes of a video over its time: bands of what is predicted, lines of how likely it is."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tl_hpo.reporting.figures.accuracy_over_time import unit_of
from tl_hpo.reporting.figures.style import (
    FAINT,
    PALETTE,
    drawing,
    legend_below,
    shortened,
)

WIDTH = 10
ROW_INCHES = 0.28
LINES_INCHES = 2.6
MOST_POINTS = 2000
"""More do not fit into the width: lines show the mean of so many stretches."""


def draw(
    seconds: Sequence[float],
    probabilities: np.ndarray,
    classes: Sequence[str],
    path: Path,
    title: str,
) -> None:
    """Draw a row per class that is ever predicted, and the probabilities of the commonest.

    Args:
        seconds: of each frame, rising.
        probabilities: of each frame, [frames, classes].

    """
    times = np.asarray(seconds)
    predicted = probabilities.argmax(axis=1)
    counts = np.bincount(predicted, minlength=len(classes))
    rows = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    unit = unit_of(float(times[-1]))
    edges = _edges(times) / unit[1]
    height = 1.2 + LINES_INCHES + ROW_INCHES * max(2, len(rows))
    with drawing(path, WIDTH, height, title) as figure:
        ratios = [max(2, len(rows)) * ROW_INCHES, LINES_INCHES]
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=ratios)
        _bands(above, edges, predicted, rows, [classes[index] for index in rows])
        shown = rows[: len(PALETTE)]
        _lines(below, times / unit[1], probabilities, shown)
        below.set_xlim(edges[0], edges[-1])
        below.set_xlabel(f"Time in the video ({unit[0]})")
        handles = [
            Line2D([], [], color=PALETTE[n], linewidth=2.5, label=shortened(classes[index], 30))
            for n, index in enumerate(shown)
        ]
        legend_below(figure, handles, columns=min(4, len(handles)))


def _edges(times: np.ndarray) -> np.ndarray:
    """Return where each frame begins and the last ends: halfway between neighbours."""
    if len(times) == 1:
        return np.array([times[0], times[0] + 1.0])
    middles = (times[1:] + times[:-1]) / 2
    return np.concatenate([times[:1], middles, times[-1:] + (times[-1:] - middles[-1:])])


def _bands(
    axes: Axes, edges: np.ndarray, predicted: np.ndarray, rows: Sequence[int], names: Sequence[str]
) -> None:
    bands: dict[int, list[tuple[float, float]]] = {index: [] for index in rows}
    position = 0
    for index, stretch in groupby(predicted.tolist()):
        end = position + len(list(stretch))
        bands[index].append((edges[position], edges[end] - edges[position]))
        position = end
    for row, index in enumerate(rows):
        colour = PALETTE[row] if row < len(PALETTE) else FAINT
        axes.broken_barh(bands[index], (row - 0.4, 0.8), color=colour, linewidth=0.4)
    axes.set_yticks(range(len(rows)), [shortened(name, 24) for name in names])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False)
    axes.set_title("Predicted class", loc="left")


def _lines(axes: Axes, times: np.ndarray, probabilities: np.ndarray, shown: Sequence[int]) -> None:
    starts = np.unique(np.linspace(0, len(times) - 1, min(len(times), MOST_POINTS)).astype(int))
    counts = np.diff(np.append(starts, len(times)))
    middles = np.add.reduceat(times, starts) / counts
    for number, index in enumerate(shown):
        means = np.add.reduceat(probabilities[:, index], starts) / counts
        marker = "o" if len(times) == 1 else None
        axes.plot(middles, means, color=PALETTE[number], linewidth=1.2, marker=marker)
    axes.set_ylim(-0.02, 1.02)
    axes.set_title("Probability", loc="left")
