"""Small images within a page, as many as its size allows."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tl_hpo.data.images import in_threads
from tl_hpo.reporting.figures.images import load

PAGE_BYTES = 10_000_000
"""What a page may have at most."""
BUDGET = 2_200_000
"""Bytes of images in a page, beside 4.7 MB of Plotly and what tables and charts need at most."""
QUALITY = 78


@dataclass(frozen=True)
class Thumbnail:
    """An image of a page: ``uri`` holds it, or is empty, and ``missing`` says why."""

    path: str
    uri: str
    missing: str = ""


UNREADABLE = "image not readable"
LEFT_OUT = "left out for size"


class Thumbnails:
    """Makes the images of one page, until their bytes are used up.

    Args:
        root: folder that the paths are relative to; None where it is not known.
        budget: bytes that all of them may have, as they stand in the page.

    Attributes:
        unreadable: how many could not be read.
        left_out: how many had no room.
    """

    def __init__(self, root: Path | None, budget: int = BUDGET) -> None:
        self._root = root if root is not None and root.is_dir() else None
        self._left = budget
        self.unreadable = 0
        self.left_out = 0

    def of(self, paths: Sequence[str], pixels: int) -> list[Thumbnail]:
        """Return a thumbnail, at most ``pixels`` wide and high, for each path in its order."""
        encoded = [""] * len(paths)

        def encode(index: int) -> None:
            encoded[index] = self._encode(paths[index], pixels)

        if self._root is not None and self._left > 0:
            in_threads(encode, range(len(paths)), "thumbnails", progress=False)
        return [self._take(path, uri) for path, uri in zip(paths, encoded, strict=True)]

    def _encode(self, path: str, pixels: int) -> str:
        image = load(self._root, path, pixels) if self._root else None
        if image is None:
            return ""
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")

    def _take(self, path: str, uri: str) -> Thumbnail:
        if not uri and (self._root is None or self._left > 0):
            self.unreadable += 1
            return Thumbnail(path, "", UNREADABLE)
        if not uri or len(uri) > self._left:
            self._left = 0  # smaller ones that come later matter less
            self.left_out += 1
            return Thumbnail(path, "", LEFT_OUT)
        self._left -= len(uri)
        return Thumbnail(path, uri)

    def told(self) -> str:
        """Say which images are missing and why, in sentences; nothing where none is."""
        sentences = []
        if self.unreadable:
            where = "in the folder of the dataset" if self._root else "where the dataset was"
            sentences.append(
                f"{self.unreadable} of the images to be shown could not be read {where}."
            )
        if self.left_out:
            sentences.append(
                f"{self.left_out} of the images to be shown have no room in a file that may have "
                f"{math.floor(PAGE_BYTES / 1e6)} MB: examples and mistaken pairs come first, then "
                "the images of the confusion matrix, from every cell in turns."
            )
        return " ".join(sentences)
