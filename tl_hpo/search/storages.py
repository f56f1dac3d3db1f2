"""Opens the database of an experiment: a file of its own, or one that several machines share."""

import os
import secrets
import socket
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)

from tl_hpo.errors import UserError, install
from tl_hpo.files import write_text
from tl_hpo.passwords import hide
from tl_hpo.search.sharing import MISSED, SharedStorage, written_alone

TOKEN_FILE = ".experiment"
TOKEN = "token"  # attribute of a study without trials, whose name is empty
ATTEMPTS = 5
_ADVICE = "for example study.storage=postgresql://USER:PASSWORD@HOST/DATABASE"


def open_shared_storage(url: Any, folder: Path, seconds: Any) -> SharedStorage:
    """Return the storage of the experiment whose run folder is ``folder``, at a database's URL.

    Args:
        url: of the database, as SQLAlchemy has it.
        folder: the run folder, which all processes see.
        seconds: between the heartbeats of a running trial.

    Raises:
        UserError: there is no such database, or it holds an experiment of that name from another
            run folder.

    """
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1:
        raise UserError(f"study.heartbeat must be whole seconds of at least 1, got {seconds!r}.")
    parsed = _parse(url)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    owner = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(4)}"
    backend = _open(parsed, seconds)
    experiment = f"{folder.parent.name}/{folder.name}"
    storage = SharedStorage(backend, experiment, owner)
    _check_folder(storage, folder)
    return storage


def _open(url: URL, seconds: int) -> RDBStorage:
    """Open a database; of several processes that find it empty, one makes its tables first."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _connect(url, seconds)
        except ImportError as error:
            raise UserError(
                f"study.storage must be a database whose driver is installed, got {_shown(url)} "
                f"({_without(url, error)}); for PostgreSQL: {install('postgresql')}."
            ) from None
        except (SQLAlchemyError, StorageInternalError, ValueError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            made_by_another = isinstance(cause, (IntegrityError, ProgrammingError))
            if made_by_another and attempt < ATTEMPTS:
                time.sleep(attempt)
                continue
            raise UserError(
                f"study.storage must be a database that can be reached, got {_shown(url)} "
                f"({_without(url, error)}); start it, or mend the URL."
            ) from None
    raise AssertionError


def _connect(url: URL, seconds: int) -> RDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of heartbeats
        return RDBStorage(
            url.render_as_string(hide_password=False),
            heartbeat_interval=seconds,
            grace_period=MISSED * seconds,
            engine_kwargs={"pool_pre_ping": True},  # connections that the server has ended
        )


def _parse(url: Any) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise UserError(f"study.storage must be the URL of a database; {_ADVICE}.") from None
    except ImportError:
        pass  # told when it is opened
    if "@" in (parsed.host or ""):  # a part of the password, which drivers would tell
        raise UserError("study.storage must have %40 for every @ in its password, got @.")
    if parsed.drivername == "postgresql":  # the driver of the extra, where none is named
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _shown(url: URL) -> str:
    return hide(url.render_as_string(hide_password=True))


def _without(url: URL, error: Exception) -> str:
    """Return the first line of an error, in which no password may stand."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    lines = str(cause).strip().splitlines()
    first = lines[0] if lines else type(error).__name__
    return first.replace(str(url.password), "***") if url.password else first


def _check_folder(storage: SharedStorage, folder: Path) -> None:
    """Hold the experiment's name to one run folder, which every process must see."""
    path = folder / TOKEN_FILE
    with written_alone(storage, folder):
        if not path.exists():
            write_text(path, secrets.token_hex(16))
    token = path.read_text(encoding="utf-8")
    study = optuna.create_study(storage=storage, study_name="", load_if_exists=True)
    known = study.user_attrs.get(TOKEN)
    if known is None:
        study.set_user_attr(TOKEN, token)
    elif known != token:
        raise UserError(
            "an experiment in a shared database must have one run folder, on storage that all "
            f"machines see, got {folder}, which is not the one that it began in; use that one, or "
            "set name=OTHER for an experiment of its own."
        )
