"""A table that lists images and what is known of them: csv or Parquet."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from tl_hpo.data.layouts.listing import in_order, named, tell
from tl_hpo.data.layouts.text_table import TextTable, read_table
from tl_hpo.data.table import ImageTable, absolute_root
from tl_hpo.errors import UserError, unknown

log = logging.getLogger(__name__)

ROLES = ("path", "label", "group", "split")
COLUMNS_TOLD = 20  # of a table, in a message


@dataclass(frozen=True)
class _Rows:
    """The rows that stand: one per image, in the order of the table.

    Attributes:
        paths: absolute, [n].
        indices: of the rows in the table, [n].

    """

    paths: list[Path]
    indices: list[int]


def load_csv(cfg: DictConfig) -> ImageTable:
    """Return the images that the table ``cfg.table`` lists, sorted by class and path.

    Paths are relative to ``cfg.root`` (by default the table's folder) or absolute. An image
    without a group is one of its own, named by its path. Files that do not exist stay in the
    table: the store tells of them together with those that cannot be read.

    Raises:
        UserError: no table, unknown columns, empty paths or labels, one path with two labels,
            groups or splits.

    """
    file = _table_file(cfg)
    table = read_table(file, (str(cfg.path_column), str(cfg.label_column)))
    columns = _role_columns(cfg, file, table)
    for role in ("path", "label"):
        _refuse_empty(file, columns[role], table)
    table = _stripped(table, [columns[role] for role in ROLES[1:] if role in columns])
    root = file.parent if cfg.root is None else absolute_root(cfg.root)
    if not root.is_dir():
        raise UserError(
            f"dataset.root must be the folder that the paths of {file} are relative to, got "
            f"{root}, which is none; set dataset.root=DIR, or leave it out for the table's own one."
        )
    rows = _distinct(file, table, root, columns)
    return _image_table(cfg.name, root, table, rows, columns)


def _table_file(cfg: DictConfig) -> Path:
    if cfg.table is None or not str(cfg.table).strip():
        raise UserError(
            "dataset.table must be a csv or Parquet file, got none; add dataset.table=FILE, with "
            "a row per image."
        )
    path = Path(os.path.abspath(Path(str(cfg.table)).expanduser()))
    if not path.is_file():
        state = "a folder" if path.is_dir() else "nothing"
        raise UserError(
            f"dataset.table must be a csv or Parquet file, got {path} ({state} is there); "
            "set dataset.table=FILE."
        )
    return path


def _role_columns(cfg: DictConfig, file: Path, table: TextTable) -> dict[str, str]:
    """Return the column of each role that the configuration gives one."""
    columns = {role: cfg.get(f"{role}_column") for role in ROLES}
    columns = {role: str(name) for role, name in columns.items() if name is not None}
    for role in ("path", "label"):
        if role not in columns:
            raise unknown(f"dataset.{role}_column", "null", table.columns)
    for role, name in columns.items():
        if name not in table.columns:
            raise UserError(
                f"dataset.{role}_column must be a column of {file}, got {name!r}; the columns are: "
                f"{named(list(table.columns), COLUMNS_TOLD)}. Set dataset.{role}_column=COLUMN."
            )
    return columns


def _stripped(table: TextTable, names: Sequence[str]) -> TextTable:
    """Return the table without blanks around the values of some columns: nobody sees those."""
    columns = {
        name: tuple(value.strip() for value in values) if name in names else values
        for name, values in table.columns.items()
    }
    return replace(table, columns=columns)


def _refuse_empty(file: Path, column: str, table: TextTable) -> None:
    empty = [
        number
        for number, value in zip(table.numbers, table.columns[column], strict=True)
        if not value.strip() or "\0" in value
    ]
    if empty:
        raise UserError(
            f"every row of {file} must have a value in column {column!r}, got {len(empty)} without "
            f"(rows {named(empty)}; the header is row 1); fill them in or remove the rows."
        )


def _distinct(file: Path, table: TextTable, root: Path, columns: Mapping[str, str]) -> _Rows:
    """Return one row per image: the first of equal ones.

    Raises:
        UserError: rows of one image contradict each other.

    """
    first: dict[str, int] = {}
    conflicts: dict[str, None] = {}
    cells = table.columns[columns["path"]]
    told = [table.columns[columns[role]] for role in ROLES[1:] if role in columns]
    for index, cell in enumerate(cells):
        path = os.path.abspath(root / cell)
        before = first.setdefault(path, index)
        if any(values[before] != values[index] for values in told):
            conflicts[cell] = None
    if conflicts:
        what = ", ".join(repr(columns[role]) for role in ROLES[1:] if role in columns)
        raise UserError(
            f"{file} must say one thing of each image, got {len(conflicts)} in several rows that "
            f"differ in {what} ({named(list(conflicts))}); keep one row of each."
        )
    if len(first) < len(cells):
        kept = set(first.values())
        repeated = [cell for index, cell in enumerate(cells) if index not in kept]
        log.warning("%d rows of %s repeat an image; the first row of each counts (%s)",
                    len(repeated), file, named(repeated))  # fmt: skip
    return _Rows([Path(path) for path in first], list(first.values()))


def _image_table(
    name: str, root: Path, table: TextTable, rows: _Rows, columns: Mapping[str, str]
) -> ImageTable:
    texts = table.columns[columns["label"]]
    classes = in_order({texts[index] for index in rows.indices})
    number = {class_: label for label, class_ in enumerate(classes)}
    # Sorted as the layout `folder` sorts, so that the same images give the same split.
    ordered = sorted(
        zip(rows.paths, rows.indices, strict=True), key=lambda row: (number[texts[row[1]]], row[0])
    )
    indices = [index for _, index in ordered]
    taken = {
        column: tuple(values[index] for index in indices)
        for column, values in table.columns.items()
        if column != columns["path"]
    }
    known = ImageTable(
        name,
        root,
        classes,
        tuple(path for path, _ in ordered),
        np.array([number[texts[index]] for index in indices], dtype=np.int64),
        official=taken.get(columns.get("split", "")),
        columns=taken,
    )
    return _with_groups(known, columns.get("group"))


def _with_groups(table: ImageTable, column: str | None) -> ImageTable:
    if column is None:
        return table
    empty = [index for index, cell in enumerate(table.columns[column]) if not cell.strip()]
    tell(table, empty, f"have no value in column {column!r}, so each is a group of its own")
    cells = enumerate(table.columns[column])
    groups = tuple(cell if cell.strip() else table.relative(index) for index, cell in cells)
    return replace(table, groups=groups)
