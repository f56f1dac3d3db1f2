"""Entry points: Hydra's, with the user's mistakes told in one line."""

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from tl_hpo.cli.sweeps import hide_passwords, refuse_passwords_for_launchers
from tl_hpo.config import CONF_DIR, group_options, register_resolvers
from tl_hpo.disk import trouble
from tl_hpo.errors import UserError, nearest, unknown
from tl_hpo.passwords import hidden_in_logs, hide

USER_MISTAKE = 2
INTERRUPTED = 130  # the shell's own: 128 + SIGINT

_NO_SETTINGS = {"name", "kind", "_target_", "hydra"}  # they say what it is; Hydra's own are many
_LISTED = 20  # more settings than that are not all named

Task = Callable[[DictConfig], None]

register_resolvers()  # here: the launcher of a sweep may run a job in another process


def entry_point(
    config_name: str, config_dir: Path = CONF_DIR
) -> Callable[[Task], Callable[[], None]]:
    """Make a function the command that composes ``config_name`` of a folder and runs it.

    A user's mistake ends it with exit code 2 and one line on standard error, without a
    traceback; whatever else goes wrong keeps Python's.
    """

    def decorate(task: Task) -> Callable[[], None]:
        mistakes: list[str] = []
        home = os.getpid()

        @functools.wraps(task)
        def job(config: DictConfig) -> None:
            try:
                task(config)
            except Exception as error:  # caught here: Hydra would print a line of its own first
                message = one_line(error)
                if message is None or os.getpid() != home:  # a sweep's launcher hands it on
                    raise
                mistakes.append(message)
                _tell(message)  # and the other jobs of a sweep go on

        command = hydra.main(
            version_base="1.3", config_path=str(config_dir), config_name=config_name
        )(job)

        def run() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of exiting
            try:
                with user_errors(), hidden_in_logs(), _unlogged():
                    refuse_passwords_for_launchers(sys.argv[1:])
                    command()
            except KeyboardInterrupt:
                print("\ninterrupted: repeat the command to go on from here", file=sys.stderr)
                sys.exit(INTERRUPTED)
            finally:
                hide_passwords()
            if mistakes:
                sys.exit(USER_MISTAKE)

        return run

    return decorate


@contextmanager
def _unlogged() -> Iterator[None]:
    """Lose what a log file cannot take, such as on a full disk: the terminal has shown it."""
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        yield
    finally:
        logging.raiseExceptions = before


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a user's mistake within the block into one line and exit code 2."""
    try:
        yield
    except Exception as error:
        message = one_line(error)
        if message is None:
            raise
        _tell(message)
        sys.exit(USER_MISTAKE)


def _tell(message: str) -> None:
    print(f"error: {hide(message)}", file=sys.stderr)


def one_line(error: BaseException) -> str | None:
    """Return what to tell the user of a mistake of theirs, or None for any other error."""
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if isinstance(error, MissingConfigException):
        return str(_missing_config(error))
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _unknown_setting(error.__cause__) or _configuration(error)
    cause = error.__cause__ if isinstance(error, ValueError) else error  # of its log file
    if isinstance(cause, OSError) and cause.filename and _from_hydra(error):
        return _not_writable(cause.filename, cause)
    if isinstance(error, ValueError) and _from_hydra(error):  # such as split=null
        return _configuration(error)
    told = trouble(error)
    return str(told) if told else None


def _not_writable(folder: object, error: OSError) -> str:
    return (
        f"the run folder must be writable, got {str(folder)!r} ({error.strerror}); "
        "set runs_dir=DIR to a folder that you may write to."
    )


def _missing_config(error: MissingConfigException) -> UserError:
    found = re.search(r"Could not find '(\w+)/([^']+)'", str(error))
    if not found or not group_options(found[1]):
        return UserError(str(error).splitlines()[0])
    error_ = unknown(found[1], found[2], group_options(found[1]))
    if found[1] == "model":
        return UserError(f"{error_} Any other of timm's: model=timm model.name={found[2]}.")
    return error_


def _unknown_setting(cause: BaseException | None) -> str | None:
    """Return what to tell of an override of a key that is not there; None for any other mistake."""
    if not isinstance(cause, OmegaConfBaseException) or "is not in struct" not in str(cause):
        return None
    group, _, key = str(cause.full_key).rpartition(".")
    there = cause.parent_node
    hidden = _NO_SETTINGS - ({"name"} if group in ("", "model") else set())
    names = [str(name) for name in there or () if name not in hidden]
    where = _chosen(group) or "the configuration"
    if not names:
        return f"{where} has no settings of its own, got {key}; leave it out."
    told = f"{where} has no setting {key}"
    if len(names) > _LISTED:
        return f"{told}. {nearest(key, names)}"
    return f"{told}; it has: {', '.join(names)}."


def _chosen(group: str) -> str:
    """Return a group with the choice of it that the command line names, if it does."""
    typed = [text for text in sys.argv[1:] if text.startswith(f"{group}=") and "," not in text]
    return typed[-1] if group and typed else group


def _configuration(error: Exception) -> str:
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    top = str(error).splitlines()[0].strip()
    first = lines[0] if lines else type(error).__name__
    reason = top if first in top else f"{top} {first}"
    if "Lexer" in reason or "parsing" in reason or "no viable" in reason:
        reason += " (text with blanks or other signs needs quotes within quotes: \"key='my text'\")"
    if "Config group override" in reason:  # which Hydra does not name
        reason += f" in {', '.join(a for a in sys.argv[1:] if a.endswith('=null'))}; leave it out"
    return (
        f"the configuration must be one that Hydra can compose: {reason} (see --help, --cfg job)."
    )


def _from_hydra(error: BaseException) -> bool:
    """Tell whether Hydra itself failed: composing, or making its run folder or the log file."""
    files, trace = [], error.__traceback__
    while trace is not None:
        files.append(Path(trace.tb_frame.f_code.co_filename).parts)
        trace = trace.tb_next
    inside = next((n for n, parts in enumerate(files) if "hydra" in parts), None)
    return inside is not None and not any("tl_hpo" in parts for parts in files[inside:])


def run_folder() -> Path:
    """Return the run folder of the Hydra job, made by now.

    Raises:
        UserError: it cannot be written to.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    probe = folder / f".writable.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(_not_writable(folder, error)) from error
    return folder
