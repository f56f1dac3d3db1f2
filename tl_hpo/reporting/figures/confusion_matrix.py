"""The confusion matrix of the best model: counts, and shares of each true class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from tl_hpo.reporting.figures.style import FAINT, INK, drawing, shortened

NAME_LENGTH = 32
NAME_INCHES = 0.08
"""Width of a character of a class name."""

FEW_CLASSES = 10
LARGEST = 26.0
"""Inches: beyond that the cells shrink with the number of classes."""

SMALLEST_WRITTEN = 0.4
"""Inches: smaller cells have no room for a count and a share."""


def draw(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], path: Path, title: str
) -> None:
    """Draw the C x C counts of ``confusion``, rows the true classes, coloured by row share."""
    counts = np.asarray(confusion)
    images = counts.sum(axis=1)
    shares = counts / np.maximum(images, 1)[:, None]
    cell = min(0.95 if len(classes) <= FEW_CLASSES else 0.54, LARGEST / len(classes))
    side = max(4.0, cell * len(classes))
    longest = NAME_INCHES * max(len(shortened(name, NAME_LENGTH)) for name in classes)
    with drawing(path, side + longest + 2.5, side + 0.75 * longest + 1.2, title) as figure:
        axes = figure.add_subplot()
        shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        _name(axes, classes, images)
        if side / len(classes) >= SMALLEST_WRITTEN:
            _write(axes, counts, shares)
        bar = figure.colorbar(shown, ax=axes, shrink=0.6, format=PercentFormatter(1.0))
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)


def _name(axes: Axes, classes: Sequence[str], images: np.ndarray) -> None:
    """Label rows and columns and draw thin lines between the cells."""
    names = [shortened(name, NAME_LENGTH) for name in classes]
    places = np.arange(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, [f"{name} ({n})" for name, n in zip(names, images, strict=True)])
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class (images)")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for edge in np.arange(len(names) + 1) - 0.5:
        axes.axhline(edge, color="#dddddd", linewidth=0.6)
        axes.axvline(edge, color="#dddddd", linewidth=0.6)


def _write(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Write count and share into each cell; zeros only where there are few classes."""
    few = len(counts) <= FEW_CLASSES
    for (row, column), count in np.ndenumerate(counts):
        if not (count or few):
            continue
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{count}\n{share:.0%}" if count else "0",
            ha="center",
            va="center",
            fontsize=10 if few else 8.5,
            linespacing=1.1,
            color=FAINT if not count else "white" if share > 0.55 else INK,
        )
