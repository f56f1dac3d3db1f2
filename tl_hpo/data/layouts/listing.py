"""What the layouts share: finding folders, listing files, naming classes."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_hpo.data.roots import visible
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError

log = logging.getLogger(__name__)

SEARCH_DEPTH = 2  # folders that mirrors put between dataset.root and the classes
NAMED = 5  # names in a message
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

OTHER_SUFFIXES = frozenset(
    {".csv", ".db", ".doc", ".docx", ".html", ".ini", ".json", ".log", ".md", ".pdf", ".tsv"}
    | {".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip"}
)


def folders(root: Path) -> list[Path]:
    """Return the visible folders directly in ``root``, sorted."""
    return sorted(path for path in root.iterdir() if visible(path.name) and path.is_dir())


def files(folder: Path) -> list[Path]:
    """Return all visible files below ``folder``, sorted."""
    found: list[Path] = []
    for parent, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if visible(name)]
        found += [Path(parent, name) for name in names if visible(name)]
    return sorted(found)


def levels(root: Path, depth: int = SEARCH_DEPTH) -> Iterator[Path]:
    """Yield ``root`` and the visible folders up to ``depth`` below it, the nearest first."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in folders(folder)]


def with_classes(root: Path, classes: Sequence[str], name: str, remedy: str) -> list[Path]:
    """Return the folders at or below ``root`` that hold all ``classes``, the nearest first.

    Raises:
        UserError: there is none; the classes that the best of them lacks are named.

    """
    complete, best = [], (root, set[str]())
    for folder in levels(root):
        found = {class_ for class_ in classes if (folder / class_).is_dir()}
        if len(found) == len(classes):
            complete.append(folder)
        best = max(best, (folder, found), key=lambda pair: len(pair[1]))
    if complete:
        return complete
    missing = [class_ for class_ in classes if class_ not in best[1]]
    raise UserError(
        f"dataset={name} must have the folders {', '.join(classes)}, got {best[0]} without "
        f"{', '.join(missing)}; {remedy}, or set dataset.root=DIR."
    )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names sorted: as numbers if all of them are numbers, else as text."""
    texts = sorted(names)
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", text) for text in texts):
        return tuple(sorted(texts, key=float))
    return tuple(texts)


def from_folders(name: str, root: Path, classes: Sequence[str]) -> ImageTable:
    """Return the table of the files in the folders ``classes`` of ``root``.

    What is no image by its name, such as notes, is told of and left out; any other file counts as
    an image, so that one that cannot be read is missed.
    """
    found = {class_: files(root / class_) for class_ in classes}
    others = [p for own in found.values() for p in own if p.suffix.lower() in OTHER_SUFFIXES]
    if others:
        names = named([path.relative_to(root).as_posix() for path in others])
        log.warning("Left out of %s as no images by their names, %d in all: %s",
                    name, len(others), names)  # fmt: skip
    left = set(others)
    return from_files(
        name, root, {c: [p for p in own if p not in left] for c, own in found.items()}
    )


def from_files(name: str, root: Path, members: dict[str, list[Path]]) -> ImageTable:
    """Return the table of ``members``: the files of each class, in index order.

    Raises:
        UserError: a file name that cannot be written to the files of a run folder.

    """
    paths = tuple(path for of_class in members.values() for path in of_class)
    for path in paths:
        if not _is_text(str(path)):
            raise UserError(f"file names must be valid UTF-8, got {str(path)!r}; rename the file.")
    labels = np.repeat(np.arange(len(members)), [len(of_class) for of_class in members.values()])
    return ImageTable(name, root, tuple(members), paths, labels.astype(np.int64))


def tell_left_out(table: ImageTable, candidates: Iterable[Path]) -> None:
    """Warn of images among ``candidates``, below the root, that belong to no class."""
    taken = set(table.paths)
    left = [
        path.relative_to(table.root).as_posix()
        for path in candidates
        if path.suffix.lower() in IMAGE_SUFFIXES and path not in taken
    ]
    if left:
        log.warning("%d images of %s lie in no folder of a class and are left out (%s)",
                    len(left), table.name, named(left))  # fmt: skip


def named(names: Sequence[Any], limit: int = NAMED) -> str:
    """Return the first of ``names`` for a message."""
    return ", ".join(str(name) for name in names[:limit]) + (", ..." if len(names) > limit else "")


def tell(table: ImageTable, indices: Sequence[int], what: str) -> None:
    """Warn of the files of ``table`` at ``indices``, by number and first names."""
    if indices:
        names = named([table.relative(index) for index in indices])
        log.warning("%d files of %s %s (%s)", len(indices), table.name, what, names)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
