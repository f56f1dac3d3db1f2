"""Files that are whole or absent: written under a temporary name, then renamed."""

import csv
import fcntl
import glob
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from tl_hpo.errors import UserError

log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The temporary file or folder is removed when the block raises. A folder already at ``path``
    is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The host too: processes of several machines may share a file system.
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        yield temporary
        if path.is_dir() and temporary.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders that killed processes left in ``folder``."""
    for path in Path(folder).rglob(".*.tmp"):
        _remove(path)


def remove_leftovers_of(path: Path) -> None:
    """Remove what killed processes left of ``path``, which none may be writing now."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the lock ends with the process, however that ends.

    Raises:
        UserError: another process holds it.
    """
    with (Path(folder) / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"a run folder must be used by one optimize.py at a time, got {str(folder)!r}, "
                "which another one is using; wait for it, or set name=OTHER."
            ) from error
        yield


@contextmanager
def waiting_lock(path: Path, *, quiet: bool = False) -> Iterator[None]:
    """Hold the lock file ``path``, made with its parent where absent, after whoever holds it now.

    It says that it waits, unless ``quiet``: where no other holds it for long.

    The lock ends with the block or with the process, however that ends. The file stays: were it
    removed, a process that waits on it and one that makes it anew would both hold the lock.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (log.debug if quiet else log.info)("waiting for another process, which holds %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:  # a process forked meanwhile shares the lock and would hold it beyond the block
            fcntl.flock(file, fcntl.LOCK_UN)


def checksum(file: Path | BufferedIOBase) -> str:
    """Return 128 bits of BLAKE2b of all bytes of ``file``, a path or open, as 32 hex digits."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return checksum(opened)
    file.seek(0)
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` under ``columns``, whole or not at all; absent keys and None stay empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns), extrasaction="raise")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a csv file with a header line, every value as text."""
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, delimiter=delimiter))
