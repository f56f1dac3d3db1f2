"""Layouts of datasets on disk: from a configuration to an `ImageTable`."""

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from tl_hpo.data.phantom import load_phantom
from tl_hpo.data.table import ImageTable, absolute_root, check_counts
from tl_hpo.errors import UserError, unknown

log = logging.getLogger(__name__)

KVASIR_CLASSES = (
    "dyed-lifted-polyps",
    "dyed-resection-margins",
    "esophagitis",
    "normal-cecum",
    "normal-pylorus",
    "normal-z-line",
    "polyps",
    "ulcerative-colitis",
)
NERTHUS_CLASSES = ("0", "1", "2", "3")
# bowel_<video>_score_<BBPS>-<part>_<frame>.jpg
NERTHUS_NAME = re.compile(r"bowel_(\d+)_score_([0-3])-\d+_\d+\.\w+", re.ASCII | re.IGNORECASE)
PUBLISHED = {
    "kvasir": "https://datasets.simula.no/downloads/kvasir/kvasir-dataset-v2.zip",
    "nerthus": "https://datasets.simula.no/downloads/nerthus/nerthus.zip",
}
SEARCH_DEPTH = 2  # folders that mirrors put between dataset.root and the classes


def load_table(cfg: DictConfig) -> ImageTable:
    """Return the images of the dataset that ``cfg`` (the config group `dataset`) describes.

    Raises:
        UserError: unknown ``cfg.kind``, missing or empty ``cfg.root``, fewer than two classes, a
            class with fewer than two images, a missing class folder of a published dataset.

    """
    if cfg.kind not in LAYOUTS:
        raise unknown("dataset.kind", str(cfg.kind), LAYOUTS)
    return check_counts(LAYOUTS[cfg.kind](cfg))


def load_folder(cfg: DictConfig) -> ImageTable:
    """Return the images of one folder per class; nested folders belong to the class above."""
    root = _root(cfg, "put the images of each class in a folder of their own there")
    names = _in_order(folder.name for folder in _folders(root))
    if not names:
        raise UserError(
            f"dataset.root must hold one folder of images per class, got {root} without any "
            "folder; put the images of each class in a folder of their own there."
        )
    return _from_folders(cfg.name, root, names)


def load_kvasir(cfg: DictConfig) -> ImageTable:
    """Return Kvasir v2: 8 folders, in ``cfg.root`` or up to two folders deeper."""
    return _from_folders(cfg.name, _published_root(cfg, KVASIR_CLASSES), KVASIR_CLASSES)


def load_nerthus(cfg: DictConfig) -> ImageTable:
    """Return Nerthus: class (BBPS 0 to 3) and group (video) as the file names tell them.

    A file of another name takes its folder's class and the group ``unnamed-<class>``; such files,
    and those in a folder other than their name's score, are told in one warning each.
    """
    root = _published_root(cfg, NERTHUS_CLASSES)
    table = _from_folders(cfg.name, root, NERTHUS_CLASSES)
    matches = [NERTHUS_NAME.fullmatch(path.name) for path in table.paths]
    labels, groups = table.labels.copy(), []
    for index, match in enumerate(matches):
        if match:
            labels[index] = int(match[2])
        groups.append(match[1] if match else f"unnamed-{table.labels[index]}")
    unnamed = [index for index, match in enumerate(matches) if match is None]
    moved = np.flatnonzero(labels != table.labels).tolist()
    _tell(table, unnamed, "are not named bowel_<video>_score_<BBPS>-<part>_<frame>.jpg: video "
          "unknown, class taken from the folder")  # fmt: skip
    _tell(table, moved, "lie in another folder than the score in their name: the name counts")
    return ImageTable(table.name, root, table.classes, table.paths, labels, tuple(groups))


def _tell(table: ImageTable, indices: Sequence[int], what: str) -> None:
    if indices:
        names = ", ".join(table.relative(index) for index in indices[:5])
        more = ", ..." if len(indices) > 5 else ""
        log.warning("%d files of %s %s (%s%s)", len(indices), table.name, what, names, more)


def _root(cfg: DictConfig, remedy: str) -> Path:
    """Return the absolute ``cfg.root``, an existing folder that is not empty."""
    root = absolute_root(cfg.root)
    if not root.is_dir():
        state = "a file" if root.exists() else "nothing"
        raise UserError(
            f"dataset.root must be an existing folder, got {root} ({state} is there); "
            f"{remedy}, or set dataset.root=DIR."
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(
            f"dataset.root must be a folder that can be read, got {root} without the permission; "
            "change its permissions or set dataset.root=DIR."
        )
    if not any(_visible(path) for path in root.iterdir()):
        raise UserError(
            f"dataset.root must hold images, got the empty folder {root}; "
            f"{remedy}, or set dataset.root=DIR."
        )
    return root


def _published_root(cfg: DictConfig, classes: Sequence[str]) -> Path:
    """Return the folder at or below ``cfg.root`` that holds all ``classes``."""
    remedy = f"unpack {PUBLISHED[cfg.kind]} there"
    root = _root(cfg, remedy)
    level, best = [root], (root, set[str]())
    for _ in range(SEARCH_DEPTH + 1):
        for folder in level:
            found = {name for name in classes if (folder / name).is_dir()}
            if len(found) == len(classes):
                return folder
            best = max(best, (folder, found), key=lambda pair: len(pair[1]))
        level = [child for folder in level for child in _folders(folder)]
    missing = [name for name in classes if name not in best[1]]
    raise UserError(
        f"dataset={cfg.name} must have the folders {', '.join(classes)}, got {best[0]} without "
        f"{', '.join(missing)}; {remedy}, or set dataset.root=DIR."
    )


def _visible(path: Path) -> bool:
    # Archives made on a Mac bring a second tree of resource forks in __MACOSX.
    return not path.name.startswith(".") and path.name != "__MACOSX"


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if _visible(path) and path.is_dir())


def _files(folder: Path) -> list[Path]:
    """Return all visible files below ``folder``, sorted."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _visible(Path(name))]
        found += [Path(parent, name) for name in names if _visible(Path(name))]
    return sorted(found)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names sorted: as numbers if all of them are numbers, else as text."""
    texts = sorted(names)
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", text) for text in texts):
        return tuple(sorted(texts, key=float))
    return tuple(texts)


def _from_folders(name: str, root: Path, classes: Sequence[str]) -> ImageTable:
    files = [_files(root / folder) for folder in classes]
    paths = tuple(path for of_class in files for path in of_class)
    for path in paths:
        if not _is_text(str(path)):
            raise UserError(f"file names must be valid UTF-8, got {str(path)!r}; rename the file.")
    labels = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in files])
    return ImageTable(name, root, tuple(classes), paths, labels.astype(np.int64))


def _is_text(name: str) -> bool:
    """Return whether ``name`` can be written to the csv and JSON files of a run folder."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


LAYOUTS: dict[str, Callable[[DictConfig], ImageTable]] = {
    "folder": load_folder,
    "kvasir": load_kvasir,
    "nerthus": load_nerthus,
    "phantom": load_phantom,
}
