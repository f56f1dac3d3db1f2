"""The list of images of a dataset, before anything is decoded."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tl_hpo.errors import UserError

Value = TypeVar("Value")

MIN_PER_CLASS = 2  # one for training and one for validation


@dataclass(frozen=True)
class ImageTable:
    """Images, their classes and, where known, the video or patient that each belongs to.

    Attributes:
        name: name of the dataset.
        root: absolute folder that the paths are told relative to.
        classes: class names in index order.
        paths: absolute paths, [n].
        labels: class indices, int64 [n].
        groups: group of each image, [n], or None where unknown.
        official: side or fold that the publisher put each image on, [n], or None where there is
            no such split.
        columns: what else is known of each image, [n] each, by name.
        synthetic: whether the images are made up; reports must say so.

    """

    name: str
    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: np.ndarray
    groups: tuple[str, ...] | None = None
    official: tuple[str, ...] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageTable":
        """Return the table of the images at ``indices``, in that order; the classes stay."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            paths=_taken(self.paths, chosen),
            labels=self.labels[chosen],
            groups=None if self.groups is None else _taken(self.groups, chosen),
            official=None if self.official is None else _taken(self.official, chosen),
            columns={name: _taken(values, chosen) for name, values in self.columns.items()},
        )

    def relative(self, index: int) -> str:
        """Return the path of one image with forward slashes: relative to the root, if below it."""
        path = self.paths[index]
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class, in index order."""
        sizes = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(size) for name, size in zip(self.classes, sizes, strict=True)}


def _taken(values: Sequence[Value], chosen: np.ndarray) -> tuple[Value, ...]:
    return tuple(values[index] for index in chosen)


def absolute_root(value: Any) -> Path:
    """Return ``dataset.root`` as an absolute path, ``~`` resolved, symbolic links kept.

    Raises:
        UserError: it is not set.

    """
    if value is None or not str(value).strip():
        raise UserError(
            "dataset.root must be a folder, got none; add dataset.root=DIR, where DIR holds one "
            "folder of images per class (for dataset=phantom: where its images may be written)."
        )
    return Path(os.path.abspath(Path(str(value)).expanduser()))


def check_counts(table: ImageTable) -> ImageTable:
    """Return ``table`` if it can be split.

    Raises:
        UserError: fewer than two classes, or a class with fewer than two images.

    """
    counts = table.counts()
    if len(counts) < 2:
        raise UserError(
            f"{table.name} must have at least 2 classes, got {len(counts)} "
            f"({', '.join(counts) or 'none'}) in {table.root}; "
            "put the images of each class in a folder of their own."
        )
    small = [f"{name!r} has {size}" for name, size in counts.items() if size < MIN_PER_CLASS]
    if small:
        raise UserError(
            f"every class must have at least {MIN_PER_CLASS} images, one for each side of the "
            f"split, but {', '.join(small)} in {table.root}; add images or remove the class."
        )
    return table
