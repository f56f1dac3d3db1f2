"""Pairs of classes that are taken for each other, with images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from tl_hpo.reporting.figures.images import readable, shape, show
from tl_hpo.reporting.figures.style import (
    drawing,
    header_inches,
    line_inches,
    place,
    shortened,
    wrapped,
)
from tl_hpo.reporting.records import Prediction

MOST_PAIRS = 6
CANDIDATES = 12
IMAGE_INCHES = 2.4
GAP = 0.1
BETWEEN_PAIRS = 0.4
PAIR_INCHES = 2 * (IMAGE_INCHES + GAP) + BETWEEN_PAIRS
BETWEEN_ROWS = 0.25
HEADING_SIZE = 11
CAPTION_SIZE = 9.5
NAME_LENGTH = 60


@dataclass(frozen=True)
class _Example:
    image: Image.Image | None
    caption: str


@dataclass(frozen=True)
class _Pair:
    heading: str
    mistaken: _Example
    correct: _Example

    @property
    def images(self) -> list[Image.Image]:
        return [e.image for e in (self.mistaken, self.correct) if e.image is not None]


def draw(predictions: Sequence[Prediction], root: Path, path: Path, title: str) -> None:
    """Draw, for the most frequent mistakes, a mistaken image beside one of the predicted class.

    Both are those that the model is surest of. Without a mistake the figure says so.

    Raises:
        FileNotFoundError: none of the images can be read.

    """
    pairs = [_pair(found, count, predictions, root) for found, count in most_frequent(predictions)]
    if not pairs:
        _draw_none(len(predictions), path, title)
        return
    images = [image for pair in pairs for image in pair.images]
    if not images:
        raise FileNotFoundError(f"no image could be read under {root}")
    columns = min(2, len(pairs))
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


def most_frequent(predictions: Sequence[Prediction]) -> list[tuple[tuple[str, str], int]]:
    """Return the most frequent ((true, predicted), images) of different classes, most first."""
    wrong = [row for row in predictions if row.label != row.predicted]
    counts = Counter((row.label, row.predicted) for row in wrong)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]


def _pair(
    pair: tuple[str, str], count: int, predictions: Sequence[Prediction], root: Path
) -> _Pair:
    true, predicted = (shortened(name, NAME_LENGTH) for name in pair)
    images = f"{count} image" + "s" * (count != 1)
    return _Pair(
        wrapped(f"{true} taken for {predicted}: {images}", PAIR_INCHES - 0.5, HEADING_SIZE),
        _example(predictions, pair, f"mistaken, true: {true}", root),
        _example(predictions, (pair[1], pair[1]), f"correct: {predicted}", root),
    )


def _example(
    predictions: Sequence[Prediction], kind: tuple[str, str], told: str, root: Path
) -> _Example:
    """Return the readable image of this (true, predicted) that the model is surest of."""
    rows = [row for row in predictions if (row.label, row.predicted) == kind]
    surest = sorted(rows, key=lambda row: -row.confidence)[:CANDIDATES]
    caption = wrapped(told, IMAGE_INCHES, CAPTION_SIZE)
    found = readable(root, [row.path for row in surest], 1)
    if not found:
        return _Example(None, caption)
    path, image = found[0]
    confidence = next(row.confidence for row in surest if row.path == path)
    return _Example(image, f"{caption}\nconfidence {confidence:.2f}")


def _heights(pairs: Sequence[_Pair], images: Sequence[Image.Image]) -> tuple[float, float, float]:
    """Return the inches that the headings, the images and the captions need."""
    captions = [e.caption for pair in pairs for e in (pair.mistaken, pair.correct)]
    above = max(line_inches(pair.heading, HEADING_SIZE) for pair in pairs) + 0.08
    below = max(line_inches(caption, CAPTION_SIZE) for caption in captions) + 0.08
    return above, shape(images) * IMAGE_INCHES, below


def _draw_pair(
    figure: Figure, pair: _Pair, left: float, top: float, heights: tuple[float, float]
) -> None:
    above, height = heights
    heading = place(figure, left, top, 2 * IMAGE_INCHES + GAP, above)
    heading.set_axis_off()
    heading.text(0.5, 0.1, pair.heading, ha="center", va="bottom", fontsize=HEADING_SIZE)
    for index, example in enumerate((pair.mistaken, pair.correct)):
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


def _draw_none(images: int, path: Path, title: str) -> None:
    text = f"None of the {images} images was taken for another class."
    with drawing(path, 7, 2, title) as figure:
        figure.text(0.5, 0.4, text, ha="center")
