import errno
import sqlite3

import pytest
from safetensors import SafetensorError
from sqlalchemy.exc import OperationalError

from tl_hpo.disk import trouble


def of_sqlite(name, words="said"):
    kind = sqlite3.DatabaseError if name in ("CORRUPT", "NOTADB") else sqlite3.OperationalError
    error = kind(words)
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "no space", "a/file"), "must have room for what is written, got"),
        (OSError(errno.EDQUOT, "quota"), "free some and repeat the command"),
        (OSError(errno.EROFS, "read-only", "a/file"), "at a/file; make it writable"),
        (PermissionError(errno.EACCES, "denied", "a/file"), "must be allowed to write"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "must have room"),
        (SafetensorError("I/O error: Read-only file system (os error 30)"), "be allowed to write"),
        (RuntimeError("write failed: No space left on device"), "must have room"),
        (of_sqlite("FULL", "disk is full"), "room for the study.db of a run folder, got 'disk is"),
        (of_sqlite("IOERR_WRITE"), "must read and write the study.db"),
        (of_sqlite("READONLY"), "be allowed to write the study.db"),
        (of_sqlite("BUSY"), "no other program may hold the study.db"),
        (of_sqlite("CORRUPT"), "nothing may damage the study.db"),
        (of_sqlite("NOTADB"), "nothing may damage the study.db"),
    ],
)
def test_what_the_disk_did_is_told_with_rule_value_and_remedy(error, told):
    message = str(trouble(error))
    assert told in message
    assert message.endswith("it goes on from here, and finished trials stay.")
    assert "\n" not in message


def test_what_it_was_raised_from_counts_as_well():
    wrapped = OperationalError("INSERT", {}, of_sqlite("FULL"))
    error = RuntimeError("the storage failed")
    error.__cause__ = wrapped
    assert "must have room" in str(trouble(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        OSError(errno.ENOENT, "absent", "a/file"),
        OSError("no number"),
        of_sqlite("ERROR"),
        sqlite3.ProgrammingError("closed"),
    ],
)
def test_other_errors_are_none_of_its(error):
    assert trouble(error) is None


def test_an_error_that_was_only_handled_before_is_none_of_its():
    error = ValueError("a bug")
    error.__context__ = OSError(errno.ENOSPC, "full")
    assert trouble(error) is None


def test_what_a_full_disk_says_itself():
    """/dev/full takes nothing: it is a full disk that every Linux has."""
    with pytest.raises(OSError, match="No space") as caught, open("/dev/full", "wb") as file:
        file.write(b"x")
    assert "must have room" in str(trouble(caught.value))
