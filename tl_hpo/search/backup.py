"""A second copy of an experiment's database, to go on from when the first is damaged."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from tl_hpo.errors import UserError
from tl_hpo.files import replacing
from tl_hpo.search.study import WAIT_SECONDS

logger = logging.getLogger(__name__)

_JOURNALS = ("-journal", "-wal", "-shm")


def backup_of(database: Path) -> Path:
    """Return the path of the copy."""
    return database.with_suffix(f".backup{database.suffix}")


def back_up(database: Path) -> None:
    """Copy ``database``, unless the copy is not whole.

    Raises:
        sqlite3.DatabaseError: it is damaged, or another program holds it.

    """
    with replacing(backup_of(database)) as temporary:
        _copy(database, temporary)
        if not _is_whole(temporary):
            error = sqlite3.DatabaseError(f"{database} does not pass SQLite's own check")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error


def restore(database: Path) -> None:
    """Put the copy in the place of ``database`` where that is gone or damaged.

    What is damaged is kept, under a name of its own; without either nothing is done.

    Raises:
        UserError: it is damaged, and so is the copy, or there is none.

    """
    backup = backup_of(database)
    if _is_whole(database):
        return
    if not _is_whole(backup):
        if not database.exists() or _is_empty(database):
            return  # an experiment that is about to begin
        raise UserError(
            f"the study.db of a run folder must be a whole database, got {database}, which is "
            "damaged and has no backup; put one of yours there, set name=OTHER for a new "
            "experiment, or remove the folder."
        )
    kept = _set_aside(database)
    with replacing(database) as temporary:
        _copy(backup, temporary)
    what = f"damaged, and kept as {kept.name}" if kept else "gone"
    logger.warning("%s is %s: going on from %s", database, what, backup.name)


def remove(database: Path) -> None:
    """Remove ``database`` and its copy."""
    for path in (database, *_journals(database), backup_of(database)):
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(source, timeout=WAIT_SECONDS)) as read,
        closing(sqlite3.connect(target)) as written,
    ):
        read.backup(written)


def _is_whole(path: Path) -> bool:
    """Tell whether there is a database at ``path`` that holds tables and is not damaged."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as connection:
            checked = connection.execute("PRAGMA quick_check").fetchall()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # such as one that another program holds: not damaged
        raise
    except sqlite3.DatabaseError:
        return False
    return checked == [("ok",)] and tables > 0


def _is_empty(path: Path) -> bool:
    return path.stat().st_size == 0


def _set_aside(database: Path) -> Path | None:
    """Rename what is damaged; return its new path, if there was anything."""
    if not database.exists():
        return None
    number = 1
    while (kept := database.with_suffix(f".damaged-{number}{database.suffix}")).exists():
        number += 1
    for journal in _journals(database):  # SQLite would roll it back into the whole one
        journal.unlink()
    return database.rename(kept)


def _journals(database: Path) -> list[Path]:
    return [path for suffix in _JOURNALS if (path := Path(f"{database}{suffix}")).exists()]
