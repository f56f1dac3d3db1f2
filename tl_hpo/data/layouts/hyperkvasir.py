"""HyperKvasir's labelled images: 23 classes in a tree of folders, with an official split."""

import csv
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from tl_hpo.data.download import published_root
from tl_hpo.data.layouts.listing import (
    IMAGE_SUFFIXES,
    SEARCH_DEPTH,
    files,
    from_files,
    in_order,
    levels,
    named,
    tell,
    tell_left_out,
)
from tl_hpo.data.published import HYPERKVASIR, OFFICIAL_SPLIT
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError
from tl_hpo.files import read_csv

log = logging.getLogger(__name__)

LABELLED = "labeled-images"
CLASSES = 23
SPLIT_COLUMNS = ("file-name", "class-name", "split-index")


def load_hyperkvasir(cfg: DictConfig) -> ImageTable:
    """Return HyperKvasir: a class per folder that directly holds images, and the official split.

    ``official`` is the split index, empty for images that the split does not list; both those and
    rows without an image are told in a warning each.

    Raises:
        UserError: no such folder, a split that cannot be read, or the dataset is absent and
            cannot be fetched.

    """
    root = published_root(cfg, HYPERKVASIR)
    deep = levels(root, SEARCH_DEPTH + 1)  # that folder itself may have so many above it
    base = next((folder for folder in deep if folder.name == LABELLED), root)
    members = _members(base)
    if not members:
        raise UserError(
            f"dataset={cfg.name} must have folders of images below {LABELLED}, got none in "
            f"{base}; {HYPERKVASIR.remedy}, or set dataset.root=DIR."
        )
    if len(members) != CLASSES:
        log.warning("%s has %d classes, but %s has %d", HYPERKVASIR.title, CLASSES, base,
                    len(members))  # fmt: skip
    table = from_files(cfg.name, base, members)
    tell_left_out(table, files(base))
    split = _split_file(cfg, root)
    return table if split is None else replace(table, official=_official(table, split))


def _members(base: Path) -> dict[str, list[Path]]:
    """Return the images of every class: of every folder below ``base`` that holds some itself."""
    found: dict[str, list[Path]] = {}
    for path in files(base):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.parent != base:
            found.setdefault(path.parent.name, []).append(path)
    return {name: found[name] for name in in_order(found)}


def _split_file(cfg: DictConfig, root: Path) -> Path | None:
    if cfg.get("official_split") is None:
        found = (folder / OFFICIAL_SPLIT.file for folder in levels(root))
        path = next((path for path in found if path.is_file()), None)
        if path is None:
            log.info("The official split, for split=official, is not there: get it from %s and put "
                     "it at %s", OFFICIAL_SPLIT.url, root / OFFICIAL_SPLIT.file)  # fmt: skip
        return path
    path = Path(os.path.abspath(Path(str(cfg.official_split)).expanduser()))
    if not path.is_file():
        raise UserError(
            f"dataset.official_split must be a file, got {path}; get it from {OFFICIAL_SPLIT.url}, "
            "or leave dataset.official_split out."
        )
    return path


def _official(table: ImageTable, path: Path) -> tuple[str, ...]:
    """Return the split index of each image, told apart by class and file name."""
    listed = _listed(path)
    keys = [
        (table.classes[label], image.name)
        for label, image in zip(table.labels.tolist(), table.paths, strict=True)
    ]
    unlisted = [index for index, key in enumerate(keys) if key not in listed]
    tell(table, unlisted, f"are not in the official split {path}")
    gone = sorted(listed.keys() - set(keys))
    if gone:
        names = named(["/".join(key) for key in gone])
        log.warning("%d rows of %s have no image (%s)", len(gone), path, names)
    return tuple(listed.get(key, "") for key in keys)


def _listed(path: Path) -> Mapping[tuple[str, str], str]:
    """Return the split index by class and file name."""
    try:
        rows = read_csv(path, delimiter=";")
    except (OSError, ValueError, csv.Error) as error:
        raise _no_split(path, f"which cannot be read ({error})") from error
    lacking = [column for column in SPLIT_COLUMNS if not rows or column not in rows[0]]
    if lacking:
        raise _no_split(path, f"without {', '.join(lacking)}")
    listed: dict[tuple[str, str], str] = {}
    for row in rows:
        name, class_, index = (str(row[column] or "").strip() for column in SPLIT_COLUMNS)
        if listed.setdefault((class_, name), index) != index:
            raise _no_split(
                path, f"with {class_}/{name} on both {listed[class_, name]} and {index}"
            )
    return listed


def _no_split(path: Path, what: str) -> UserError:
    return UserError(
        f"dataset.official_split must be a file with the columns {';'.join(SPLIT_COLUMNS)}, got "
        f"{path} {what}; get it from {OFFICIAL_SPLIT.url}."
    )
