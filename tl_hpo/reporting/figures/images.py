"""Reading the images that the figures show."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from PIL import Image

from tl_hpo.data.images import opened, reduced
from tl_hpo.reporting.figures.style import FAINT

Item = TypeVar("Item")

PIXELS = 480
"""Longest side of a shown image: 2.4 inches at the resolution of the figures."""


def load(root: Path, path: str, pixels: int = PIXELS) -> Image.Image | None:
    """Return the image at most ``pixels`` wide and high, ``None`` if it cannot be read."""
    try:
        with opened(root / path) as source, reduced(source, pixels, "RGB"):
            image = source.convert("RGB")
    except Exception:  # Pillow's plugins raise nearly anything on damaged files
        return None
    image.thumbnail((pixels, pixels))
    return image


def readable(root: Path, paths: Iterable[str], count: int) -> list[tuple[str, Image.Image]]:
    """Return the first ``count`` of ``paths`` that can be read, with their images."""
    found: list[tuple[str, Image.Image]] = []
    for path in paths:
        if len(found) == count:
            break
        image = load(root, path)
        if image is not None:
            found.append((path, image))
    return found


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return ``count`` of ``items``, evenly spaced: neighbours are often frames of one video."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


def shape(images: Iterable[Image.Image]) -> float:
    """Return the median height per width of the images, the room that each is given."""
    return statistics.median(image.height / image.width for image in images)


def show(axes: Axes, image: Image.Image | None) -> None:
    """Draw an image without an axis, or say that there is none."""
    axes.set_axis_off()
    if image is None:
        axes.text(0.5, 0.5, "image not\nreadable", ha="center", va="center", color=FAINT)
    else:
        axes.imshow(image)
