"""Records from the files of a run folder, which tell in one line what they cannot be."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv

Record = TypeVar("Record")


def read_object(path: Path, kind: type[Record]) -> Record | None:
    """Return the JSON object at ``path`` as a record, None where there is no file."""
    told = read_json(path)
    return None if told is None else build(told, kind, path)


def read_objects(path: Path, kind: type[Record], key: str | None = None) -> list[Record]:
    """Return the JSON objects that the file lists as records, none where there is no file.

    With ``key``, the list is what the object in the file holds there, if anything.
    """
    told = read_json(path)
    if key is not None and isinstance(told, dict):
        told = told.get(key)
    if told is not None and not isinstance(told, list):
        raise unreadable(path, TypeError(f"{type(told).__name__} is no list"))
    return [build(each, kind, path) for each in told or ()]


def read_json(path: Path) -> Any:
    """Return what the JSON file holds, None where there is none."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise unreadable(path, error) from error


def build(told: Any, kind: type[Record], path: Path) -> Record:
    """Make a record of the keys that it has fields for; lists become tuples."""
    try:
        known = {name: told[name] for name in _names(kind) if name in told}
        frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
        return kind(**frozen)
    except TypeError as error:
        raise unreadable(path, error) from error


def read_rows(path: Path, kind: type[Record]) -> list[Record]:
    """Return the rows of a csv file as records, none where there is no file.

    A field that is a mapping holds the cells of columns without a field, but for empty ones.
    """
    if not path.is_file():
        return []
    hints = get_type_hints(kind)
    converters = {n: _CONVERTERS[hints[n]] for n in _names(kind) if hints[n] != _FURTHER}
    further = [name for name in _names(kind) if hints[name] == _FURTHER]

    def record(row: Mapping[str, str]) -> Record:
        known = {name: convert(row[name]) for name, convert in converters.items()}
        others = {name: cell for name, cell in row.items() if name and cell and name not in known}
        return kind(**known, **dict.fromkeys(further, others))

    try:
        return [record(row) for row in read_csv(path)]
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error) from error


def _names(kind: Any) -> list[str]:
    return [entry.name for entry in fields(kind)]


def _finite(text: str) -> float | None:
    """Return the number, ``None`` for an empty cell, a NaN or an infinity."""
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def _true(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _whole(text: str) -> int | None:
    value = _finite(text)
    return None if value is None else int(value)


def unreadable(path: Path, error: Exception) -> UserError:
    """Return what to raise for a file that cannot be understood."""
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    return UserError(
        f"{path} must be a file that optimize.py wrote, got {cause}; "
        "repeat the command that wrote the run folder."
    )


_FURTHER = Mapping[str, str]
_CONVERTERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    bool: _true,
    int: int,
    float: float,
    float | None: _finite,
    int | None: _whole,
}
