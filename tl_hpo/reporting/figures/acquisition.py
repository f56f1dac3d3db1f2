"""The surrogate model and the acquisition function along single axes, as GPyOpt draws them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from tl_hpo.reporting.figures.style import (
    INK,
    PALETTE,
    drawing,
    legend_below,
    log_axis,
    wrapped,
)
from tl_hpo.search.slices import Slice

COLUMNS = 3
SLICE_INCHES = 4.2
SMALLEST_SPAN = 0.02  # of a score; smaller differences mean nothing


def draw(slices: Sequence[Slice], path: Path, title: str) -> None:
    """Draw posterior mean ± 2 standard deviations above the acquisition, for each slice."""
    columns = min(COLUMNS, len(slices))
    rows = -(-len(slices) // columns)
    with drawing(path, max(6.0, columns * SLICE_INCHES), rows * 4.2 + 0.9, title) as figure:
        cells = figure.subfigures(rows, columns, squeeze=False).flat
        for cell, one in zip(cells, slices, strict=False):
            width = max(6.0, columns * SLICE_INCHES) / columns
            cell.suptitle(wrapped(one.title, width - 0.5, 10.5), fontsize=10.5)
            above, below = cell.subplots(2, 1, sharex=True, height_ratios=(2, 1))
            _posterior(above, one)
            _acquisition(below, one)
        handles = above.get_legend_handles_labels()[0] + below.get_legend_handles_labels()[0]
        legend_below(figure, handles, columns=len(handles) if columns > 1 else 2)


def _posterior(axes: Axes, one: Slice) -> None:
    x, mean, std = (np.asarray(values) for values in (one.x, one.mean, one.std))
    shade = PALETTE[0]
    axes.fill_between(
        x, mean - 2 * std, mean + 2 * std, color=shade, alpha=0.18, linewidth=0, label="± 2 std"
    )
    axes.plot(x, mean, color=shade, linewidth=1.8, label="posterior mean")
    axes.scatter(one.observed_x, one.observed_y, s=20, color=INK, zorder=3, label="trials")
    axes.set_ylabel("Validation score")
    axes.margins(x=0.02)
    axes.ticklabel_format(axis="y", useOffset=False)
    low, high = axes.get_ylim()
    if high - low < SMALLEST_SPAN:  # equal scores: else rounding noise would fill the panel
        middle = (low + high) / 2
        axes.set_ylim(middle - SMALLEST_SPAN / 2, middle + SMALLEST_SPAN / 2)


def _acquisition(axes: Axes, one: Slice) -> None:
    """Draw the acquisition scaled to [0, 1] where it is not negative, as only its shape counts."""
    values = np.asarray(one.acquisition, dtype=float)
    values = values - min(values.min(), 0.0)
    axes.plot(
        one.x, values / (values.max() or 1.0), color=PALETTE[1], linewidth=1.6, label="acquisition"
    )
    axes.set_ylim(-0.04, 1.08)
    axes.set_ylabel("Acquisition")
    axes.set_xlabel(one.label)
    if one.log:
        log_axis(axes)
