"""split.csv: a split as a file, written for every run and read back by split=file."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tl_hpo.data.sides import Split, side_of, split_by
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError, some_of
from tl_hpo.files import write_csv

COLUMNS = ("path", "label", "side", "group")

Row = Mapping[str, str]


def write_split(path: Path, table: ImageTable, split: Split) -> None:
    """Write split.csv: path relative to the dataset's root, label, side, group; sorted by path."""
    write_csv(path, COLUMNS, sorted(split_rows(table, split), key=lambda row: row["path"]))


def split_rows(table: ImageTable, split: Split) -> list[dict[str, str]]:
    """Return the rows of split.csv, side by side; the group is empty where none is known."""
    return [
        {
            "path": table.relative(index),
            "label": table.classes[table.labels[index]],
            "side": side,
            "group": table.groups[index] if table.groups else "",
        }
        for side, indices in split.sides().items()
        for index in indices.tolist()
    ]


def read_split(path: Path, table: ImageTable) -> tuple[Split, tuple[str, ...] | None]:
    """Return the split of ``table`` that a split.csv describes, and the group of each image, [n].

    Groups are None where the file has none; an image without one among others is a group of its
    own.

    Raises:
        UserError: no such file, no csv file, columns are missing, an image stands in it twice, an
            unknown side, images and rows that do not match, another label.

    """
    rows = _by_path(path, _rows(path))
    paths = [table.relative(index) for index in range(len(table))]
    present = set(paths)
    _refuse(path, "a row for every image", (p for p in paths if p not in rows), "images without")
    _refuse(path, "images of the dataset alone", (p for p in rows if p not in present), "others")
    ordered = [rows[p] for p in paths]
    labels = [table.classes[label] for label in table.labels]
    other = (
        f"{row['path']}: {row['label']} for {label}"
        for row, label in zip(ordered, labels, strict=True)
        if row["label"] != label
    )
    _refuse(path, "the dataset's labels", other, "other labels")
    sides = np.array([side_of(row["side"]) for row in ordered])
    return split_by(sides == "validation", sides == "test"), _groups(ordered)


def _rows(path: Path) -> list[Row]:
    try:
        # utf-8-sig: spreadsheets put a mark before the first column.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            rows: list[Row] = [] if missing else list(reader)
    except OSError as error:
        raise UserError(
            f"split.file must be a file that can be read, got {path} ({error.strerror}); set "
            "split.file=FILE, such as the split.csv of a run folder."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"split.file must be a csv file in UTF-8, got {path} ({error}); save it as such."
        ) from error
    if missing:
        raise UserError(
            f"split.file must have the columns {', '.join(COLUMNS)}, got {path} without "
            f"{', '.join(missing)}; add them to its first line."
        )
    return rows


def _by_path(path: Path, rows: Sequence[Row]) -> dict[str, Row]:
    """Return the rows by their path, each of which stands there once, on a known side."""
    unknown = (f"{row['path']}: {row['side']!r}" for row in rows if side_of(row["side"]) is None)
    _refuse(path, "the sides train, validation and test", unknown, "others")
    sides: dict[str, list[str]] = {}
    for row in rows:
        sides.setdefault(row["path"], []).append(row["side"])
    several = (f"{p}: {' and '.join(found)}" for p, found in sides.items() if len(found) > 1)
    _refuse(path, "every path once, on one side", several, "several rows of one path")
    return {row["path"]: row for row in rows}


def _refuse(path: Path, rule: str, wrong: Iterable[str], what: str) -> None:
    """Raise UserError if anything is wrong, with its number and the first of it."""
    listed = list(wrong)
    if listed:
        raise UserError(
            f"split.file must hold {rule}, got {len(listed)} {what} ({some_of(listed)}) in {path}; "
            "mend the file, or set split=holdout for a new split."
        )


def _groups(rows: Sequence[Row]) -> tuple[str, ...] | None:
    groups = tuple(row["group"] for row in rows)
    if not any(groups):
        return None
    return tuple(group or row["path"] for group, row in zip(groups, rows, strict=True))
