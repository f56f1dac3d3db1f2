"""Pairs of classes that are taken for each other, with images."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tl_hpo.reporting.figures.images import readable
from tl_hpo.reporting.figures.pairs import (
    Example,
    ImagePair,
    caption,
    draw_none,
    draw_pairs,
    heading,
)
from tl_hpo.reporting.figures.style import shortened
from tl_hpo.reporting.records import Prediction

MOST_PAIRS = 6
CANDIDATES = 12
NAME_LENGTH = 60


def draw(predictions: Sequence[Prediction], root: Path, path: Path, title: str) -> None:
    """Draw, for the most frequent mistakes, a mistaken image beside one of the predicted class.

    Both are those that the model is surest of. Without a mistake the figure says so.

    Raises:
        FileNotFoundError: none of the images can be read.

    """
    pairs = [_pair(found, count, predictions, root) for found, count in most_frequent(predictions)]
    if pairs:
        draw_pairs(pairs, path, title)
    else:
        text = f"None of the {len(predictions)} images was taken for another class."
        draw_none(text, path, title)


def most_frequent(predictions: Sequence[Prediction]) -> list[tuple[tuple[str, str], int]]:
    """Return the most frequent ((true, predicted), images) of different classes, most first."""
    wrong = [row for row in predictions if row.label != row.predicted]
    counts = Counter((row.label, row.predicted) for row in wrong)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]


def surest(predictions: Sequence[Prediction], kind: tuple[str, str]) -> list[Prediction]:
    """Return the predictions of this (true, predicted), those that the model is surest of first."""
    rows = [row for row in predictions if (row.label, row.predicted) == kind]
    return sorted(rows, key=lambda row: -row.confidence)


def _pair(
    pair: tuple[str, str], count: int, predictions: Sequence[Prediction], root: Path
) -> ImagePair:
    true, predicted = (shortened(name, NAME_LENGTH) for name in pair)
    images = f"{count} image" + "s" * (count != 1)
    return ImagePair(
        heading(f"{true} taken for {predicted}: {images}"),
        _example(predictions, pair, f"mistaken, true: {true}", root),
        _example(predictions, (pair[1], pair[1]), f"correct: {predicted}", root),
    )


def _example(
    predictions: Sequence[Prediction], kind: tuple[str, str], told: str, root: Path
) -> Example:
    """Return the readable image of this (true, predicted) that the model is surest of."""
    rows = surest(predictions, kind)[:CANDIDATES]
    found = readable(root, [row.path for row in rows], 1)
    if not found:
        return Example(None, caption(told))
    path, image = found[0]
    confidence = next(row.confidence for row in rows if row.path == path)
    return Example(image, f"{caption(told)}\nconfidence {confidence:.2f}")
