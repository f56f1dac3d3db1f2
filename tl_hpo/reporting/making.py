"""Making the files of a report one by one: none is worth losing the others."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

log = logging.getLogger(__name__)

Task = tuple[Path, Callable[..., object]]
"""A file, and what makes it when called with its ``path``."""


def made(tasks: Iterable[Task]) -> list[Path]:
    """Make the files in their order and return those made; log why others were not."""
    return [file for path, make in tasks if _attempt(path, make) for file in _files(path)]


def _attempt(path: Path, make: Callable[..., object]) -> bool:
    try:
        make(path=path)
    except Exception as error:
        log.warning("%s was not written: %s: %s", path.name, type(error).__name__, error)
        return False
    return True


def _files(path: Path) -> list[Path]:
    """Return what a task wrote: figures are written twice."""
    return [path, path.with_suffix(".svg")] if path.suffix == ".png" else [path]
