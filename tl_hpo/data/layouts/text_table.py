"""Tables of text: csv with any usual separator, or Parquet."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_hpo.errors import UserError

SEPARATORS = (",", ";", "\t")
PARQUET = frozenset({".parquet", ".pq"})


@dataclass(frozen=True)
class TextTable:
    """Columns of text, [n] each.

    Attributes:
        columns: cells by column name, in the order of the file; empty cells are empty text.
        numbers: of the rows for messages, [n]; the header is row 1.

    """

    columns: Mapping[str, tuple[str, ...]]
    numbers: tuple[int, ...]


def read_table(path: Path, wanted: Sequence[str] = ()) -> TextTable:
    """Return the table in ``path``: Parquet if it ends in .parquet or .pq, else csv.

    Args:
        path: an existing file.
        wanted: columns that tell which separator is the right one.

    Raises:
        UserError: it is no such table, not in UTF-8, has no rows, or two columns of one name.

    """
    table = _parquet(path) if path.suffix.lower() in PARQUET else _csv(path, wanted)
    if not table.numbers:
        raise UserError(f"dataset.table must have a row per image, got {path} without any row.")
    return table


def _csv(path: Path, wanted: Sequence[str]) -> TextTable:
    import pandas as pd

    text = _text(path)
    if not text.strip():
        raise UserError(f"dataset.table must have a header and a row per image, got {path}, empty.")
    try:
        separator = _separator(text, wanted)
        # Without a header for pandas: with one, it takes a longer first row for an index column.
        cells = pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str,
            keep_default_na=False, na_filter=False, skip_blank_lines=False,
        ).fillna("")  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise _no_table(path, str(error)) from error
    header = [str(name).strip() for name in cells.iloc[0]]
    _refuse_twins(path, header)
    full = cells.index[1:][(cells.iloc[1:] != "").any(axis=1)]  # blank lines are no rows
    columns = {name: tuple(cells[i][full]) for i, name in enumerate(header) if name}
    return TextTable(columns, tuple(int(index) + 1 for index in full))


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_table(
            path, f"byte {error.object[error.start]:#04x} at {error.start:,} is not UTF-8"
        ) from error
    except OSError as error:
        raise _no_table(path, error.strerror or str(error)) from error
    if "\0" in text:
        raise _no_table(path, "it holds zero bytes, as UTF-16 and binary files do")
    return text.lstrip("\r\n")


def _separator(text: str, wanted: Sequence[str]) -> str:
    """Return the separator that finds the wanted columns in the header, else the most columns."""
    header = text.splitlines()[0]

    def found(separator: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        return len(set(wanted).intersection(names)), len(names)

    return max(SEPARATORS, key=found)


def _parquet(path: Path) -> TextTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        # Nested columns and bytes, such as whole images, tell nothing in a report.
        kept = [f.name for f in schema if not pa.types.is_nested(f.type) and not _bytes(f.type)]
        _refuse_twins(path, schema.names)
        table = pq.read_table(path, columns=kept)
    except (pa.ArrowException, OSError) as error:
        raise _no_table(path, str(error)) from error
    columns = {name: tuple(map(_cell, table[name].to_pylist())) for name in table.column_names}
    return TextTable(columns, tuple(range(2, table.num_rows + 2)))


def _bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )  # fmt: skip


def _cell(value: Any) -> str:
    """Return a cell as text: whole numbers without a point, nothing as empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _refuse_twins(path: Path, names: Sequence[str]) -> None:
    twins = sorted({name for name in names if name and names.count(name) > 1})
    if twins:
        raise _no_table(path, f"it has several columns {', '.join(map(repr, twins))}")


def _no_table(path: Path, reason: str) -> UserError:
    return UserError(
        f"dataset.table must be a csv file in UTF-8 or a Parquet file (.parquet, .pq), got {path} "
        f"({' '.join(reason.split())}); save the table anew as one of these."
    )
