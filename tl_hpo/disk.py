"""Disks that are full or cannot be written, and databases on them: how to tell, and what to say."""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator

from tl_hpo.errors import UserError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
# What has no errno: safetensors' errors, torch's.
_SAID = re.compile(r"\(os error (\d+)\)|(No space left on device)")

_GO_ON = "repeat the command: it goes on from here, and finished trials stay"
_ROOM = ("the disk must have room for", "free some")
_WRITABLE = ("programs must be allowed to write", "make it writable")
_OF_DATABASE = {
    sqlite3.SQLITE_FULL: _ROOM,
    sqlite3.SQLITE_IOERR: ("the disk must read and write", "free space on it, or mend it"),
    sqlite3.SQLITE_READONLY: _WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _WRITABLE,
    sqlite3.SQLITE_BUSY: ("no other program may hold", "close what has it open"),
    sqlite3.SQLITE_LOCKED: ("no other program may hold", "close what has it open"),
    sqlite3.SQLITE_CORRUPT: ("nothing may damage", "mend the disk if it did"),
    sqlite3.SQLITE_NOTADB: ("nothing may damage", "mend the disk if it did"),
}


def trouble(error: BaseException) -> UserError | None:
    """Return what to tell the user if ``error`` comes of a full or write-protected disk.

    Or of a database of SQLite that is damaged or that another program holds. What it was raised
    from counts as well.
    """
    for each in _causes(error):
        told = _of_database(each) if isinstance(each, sqlite3.Error) else _of_files(each)
        if told is not None:
            return told
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or getattr(error, "orig", None)


def _of_database(error: sqlite3.Error) -> UserError | None:
    code = getattr(error, "sqlite_errorcode", 0)  # absent where Python itself raised it
    if code & 0xFF not in _OF_DATABASE:  # the rest of it tells finer kinds
        return None
    rule, remedy = _OF_DATABASE[code & 0xFF]
    return UserError(
        f"{rule} the study.db of a run folder, got {str(error)!r}; {remedy} and {_GO_ON}."
    )


def _of_files(error: BaseException) -> UserError | None:
    number = _number(error)
    if number not in FULL | _FORBIDDEN:
        return None
    rule, remedy = _ROOM if number in FULL else _WRITABLE
    name = getattr(error, "filename", None)
    where = f" at {name}" if name else ""
    return UserError(
        f"{rule} what is written, got {os.strerror(number)!r}{where}; {remedy} and {_GO_ON}."
    )


def _number(error: BaseException) -> int:
    """Return the errno that ``error`` tells in one way or another, or 0."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = _SAID.search(str(error))
    if found is None:
        return 0
    return int(found[1]) if found[1] else errno.ENOSPC
