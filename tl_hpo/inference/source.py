"""What is predicted: batches of decoded images, the next made while one is computed with."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image, ImageOps

from tl_hpo.data.images import as_rgb, decode_into, opened, reduced

Item = TypeVar("Item")

PICTURE = 1024  # longest side, pixels, of a picture that is shown


class Entry(Protocol):
    """One image of the input."""

    def cells(self) -> dict[str, str]:
        """Return its columns in the csv."""

    def name(self) -> str:
        """Return a name for files and messages about it."""

    def picture(self) -> Image.Image:
        """Return it in its own proportions, RGB, at most `PICTURE` wide and high."""


@dataclass(frozen=True)
class Batch:
    """Decoded images, uint8 [n, H, W, 3], with the reason per index that could not be decoded."""

    entries: list[Entry]
    images: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)


class Source(Protocol):
    """An input: its columns, how many images it has, if known, and their batches."""

    columns: tuple[str, ...]
    total: int | None

    def batches(self, shape: tuple[int, int], batch_size: int) -> Iterator[Batch]:
        """Yield the images, squashed to ``shape`` (H, W), up to ``batch_size`` at once."""


@dataclass(frozen=True)
class Picture:
    """An image file; ``relative`` is how it is named in the csv."""

    path: Path
    relative: str

    def cells(self) -> dict[str, str]:
        """Return its columns in the csv; what is no UTF-8 is escaped."""
        return {"path": self.name()}

    def name(self) -> str:
        """Return the path, from the folder that was given."""
        return self.relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

    def picture(self) -> Image.Image:
        """Read the file again, at the size to be shown."""
        with opened(self.path) as image, reduced(image, PICTURE):
            return shown(as_rgb(ImageOps.exif_transpose(image)))


def shown(image: Image.Image) -> Image.Image:
    """Return ``image`` at most `PICTURE` wide and high."""
    image.thumbnail((PICTURE, PICTURE))
    return image


class Pictures:
    """Image files.

    Args:
        pictures: in the order of the csv.

    """

    columns: tuple[str, ...] = ("path",)

    def __init__(self, pictures: list[Picture]) -> None:
        self._pictures = pictures
        self.total: int | None = len(pictures)

    def batches(self, shape: tuple[int, int], batch_size: int) -> Iterator[Batch]:
        """Yield the images as training decodes them."""
        for start in range(0, len(self._pictures), batch_size):
            chunk = self._pictures[start : start + batch_size]
            images = np.zeros((len(chunk), *shape, 3), np.uint8)
            failures = decode_into(images, [each.path for each in chunk], progress=False)
            yield Batch(list(chunk), images, failures)


_END = object()


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield ``items``, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield item  # type: ignore[misc]
