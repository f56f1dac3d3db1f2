"""The files in which Hydra keeps what it was told, without passwords."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tl_hpo.errors import UserError
from tl_hpo.files import write_text
from tl_hpo.passwords import hide

SWEEP_FILE = "multirun.yaml"
JOB_FOLDER = ".hydra"

_written: set[Path] = set()


class RememberSweep(Callback):
    """Remembers where Hydra writes the file, which it does before it composes the first job."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Remember the file of a sweep that is about to begin."""
        _written.add(Path(config.hydra.sweep.dir).absolute() / SWEEP_FILE)


def hide_passwords() -> None:
    """Take the passwords out of the files of this process's sweeps."""
    for path in _written:
        if path.is_file():
            _hide_in(path)


def hide_passwords_of_job(folder: Path) -> None:
    """Take the passwords out of what Hydra has kept of the job in ``folder``."""
    for path in (folder / JOB_FOLDER).glob("*.yaml"):
        _hide_in(path)


def _hide_in(path: Path) -> None:
    told = path.read_text(encoding="utf-8")
    if hide(told) != told:
        write_text(path, hide(told))


def refuse_passwords_for_launchers(arguments: list[str]) -> None:
    """Refuse a command whose password another launcher than Hydra's own would write to its files.

    Raises:
        UserError: it names a launcher, and a URL with a password.

    """
    launcher = next((text for text in arguments if text.startswith("hydra/launcher=")), None)
    secret = next((text for text in arguments if hide(text) != text), None)
    if launcher and secret:
        raise UserError(
            f"a password must not go to other machines in a launcher's files, got {hide(secret)} "
            f"with {launcher}; leave it out of the URL (PostgreSQL reads ~/.pgpass), or leave "
            "the launcher out."
        )
