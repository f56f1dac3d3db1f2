"""Examples of each class."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from tl_hpo.reporting.figures.images import readable, shape, show, spread
from tl_hpo.reporting.figures.style import (
    CHARACTER_WIDTH,
    POINTS_PER_INCH,
    drawing,
    header_inches,
    place,
    shortened,
)
from tl_hpo.reporting.records import SplitImage

EXAMPLES = 4
CANDIDATES = 12
"""Files tried per class, so that missing ones do not make the figure slow."""

MOST_CLASSES = 48
IMAGE_INCHES = 1.5
GAP = 0.08
BETWEEN_STRIPS = 0.35
NAME_INCHES = 0.32
NAME_SIZE = 11
STRIP_INCHES = EXAMPLES * (IMAGE_INCHES + GAP) + BETWEEN_STRIPS


def draw(
    split: Sequence[SplitImage], classes: Sequence[str], root: Path, path: Path, title: str
) -> None:
    """Draw a strip of images for each class; ``root`` is the folder their paths are relative to.

    Raises:
        FileNotFoundError: no image of any class can be read.

    """
    shown = list(classes)[:MOST_CLASSES]
    if len(shown) < len(classes):
        title += f" (the first {len(shown)} of {len(classes)} classes)"
    paths = {name: [row.path for row in split if row.label == name] for name in shown}
    strips = {name: _examples(own, root) for name, own in paths.items()}
    images = [image for strip in strips.values() for image in strip]
    if not images:
        raise FileNotFoundError(f"no image could be read under {root}")
    columns = 1 if len(shown) <= 5 else 2 if len(shown) <= 16 else 3
    rows, height = -(-len(shown) // columns), shape(images) * IMAGE_INCHES
    tall = height + NAME_INCHES + 0.12
    width = columns * STRIP_INCHES - BETWEEN_STRIPS
    header = header_inches(title, width)
    with drawing(path, width, rows * tall + header, title, placed=True) as figure:
        for index, name in enumerate(shown):
            column, row = divmod(index, rows)
            corner = (column * STRIP_INCHES, row * tall + header)
            heading = f"{name} ({len(paths[name])} images)"
            _strip(figure, corner, height, heading, strips[name])


def _examples(paths: Sequence[str], root: Path) -> list[Image.Image]:
    chosen = spread(paths, EXAMPLES)
    others = [path for path in spread(paths, CANDIDATES) if path not in chosen]
    return [image for _, image in readable(root, chosen + others, EXAMPLES)]


def _strip(
    figure: Figure,
    corner: tuple[float, float],
    height: float,
    heading: str,
    images: Sequence[Image.Image],
) -> None:
    """Draw images side by side under a heading; ``corner`` is (left, top) in inches."""
    characters = int(STRIP_INCHES * POINTS_PER_INCH / (NAME_SIZE * CHARACTER_WIDTH)) - 4
    left, top = corner
    for index, image in enumerate(images or [None]):
        across = left + index * (IMAGE_INCHES + GAP)
        axes = place(figure, across, top + NAME_INCHES, IMAGE_INCHES, height)
        show(axes, image)
        if index == 0:
            name = place(figure, across, top, IMAGE_INCHES, NAME_INCHES)
            name.set_axis_off()
            name.text(0, 0.2, shortened(heading, characters), fontsize=NAME_SIZE, ha="left")
