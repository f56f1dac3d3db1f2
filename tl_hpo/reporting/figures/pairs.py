"""Pairs of images side by side, each pair under a heading and each image over a caption."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from tl_hpo.reporting.figures.images import shape, show
from tl_hpo.reporting.figures.style import drawing, header_inches, line_inches, place, wrapped

MAX_COLUMNS = 2  # of pairs
IMAGE_INCHES = 2.4
GAP = 0.1
BETWEEN_PAIRS = 0.4
PAIR_INCHES = 2 * (IMAGE_INCHES + GAP) + BETWEEN_PAIRS
BETWEEN_ROWS = 0.25
HEADING_SIZE = 11
CAPTION_SIZE = 9.5


@dataclass(frozen=True)
class Example:
    """An image, None where it cannot be read, and its wrapped caption."""

    image: Image.Image | None
    caption: str


@dataclass(frozen=True)
class ImagePair:
    """Two images under a wrapped heading."""

    heading: str
    left: Example
    right: Example


def heading(text: str) -> str:
    """Break a heading into lines that fit its pair."""
    return wrapped(text, PAIR_INCHES - 0.5, HEADING_SIZE)


def caption(text: str) -> str:
    """Break a caption into lines that fit its image."""
    return wrapped(text, IMAGE_INCHES, CAPTION_SIZE)


def draw_pairs(pairs: Sequence[ImagePair], path: Path, title: str) -> None:
    """Draw at least one pair, two beside each other.

    Raises:
        FileNotFoundError: none of the images could be read.

    """
    images = [e.image for pair in pairs for e in (pair.left, pair.right) if e.image is not None]
    if not images:
        raise FileNotFoundError("no image could be read of those to be shown")
    columns = min(MAX_COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    above, height, below = _heights(pairs, images)
    tall = above + height + below + BETWEEN_ROWS
    width = columns * PAIR_INCHES - BETWEEN_PAIRS
    header = header_inches(title, width)
    with drawing(path, width, rows * tall + header, title, placed=True) as figure:
        for index, pair in enumerate(pairs):
            row, column = divmod(index, columns)
            top = row * tall + header
            _draw_pair(figure, pair, column * PAIR_INCHES, top, (above, height))


def draw_none(text: str, path: Path, title: str) -> None:
    """Draw that there is no pair to be shown, and why."""
    with drawing(path, 7, 2, title) as figure:
        figure.text(0.5, 0.4, text, ha="center")


def _heights(
    pairs: Sequence[ImagePair], images: Sequence[Image.Image]
) -> tuple[float, float, float]:
    """Return the inches that the headings, the images and the captions need."""
    captions = [e.caption for pair in pairs for e in (pair.left, pair.right)]
    above = max(line_inches(pair.heading, HEADING_SIZE) for pair in pairs) + 0.08
    below = max(line_inches(text, CAPTION_SIZE) for text in captions) + 0.08
    return above, shape(images) * IMAGE_INCHES, below


def _draw_pair(
    figure: Figure, pair: ImagePair, left: float, top: float, heights: tuple[float, float]
) -> None:
    above, height = heights
    over = place(figure, left, top, 2 * IMAGE_INCHES + GAP, above)
    over.set_axis_off()
    over.text(0.5, 0.1, pair.heading, ha="center", va="bottom", fontsize=HEADING_SIZE)
    for index, example in enumerate((pair.left, pair.right)):
        across = left + index * (IMAGE_INCHES + GAP)
        axes = place(figure, across, top + above, IMAGE_INCHES, height)
        show(axes, example.image)
        axes.text(
            0.5,
            -0.03,
            example.caption,
            ha="center",
            va="top",
            fontsize=CAPTION_SIZE,
            transform=axes.transAxes,
        )
