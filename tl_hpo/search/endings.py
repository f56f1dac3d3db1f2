"""endings.json: why steps of a search ended early, or were skipped, kept in its run folder.

A repeated command forgets what it said of a step as soon as that begins again. Where every step
had all its trials there is no such file.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage

from tl_hpo.files import write_json
from tl_hpo.search.sharing import written_alone

ENDINGS_FILE = "endings.json"


@dataclass(frozen=True)
class Ending:
    """Why a step has not all the trials that were asked for.

    Attributes:
        step: its name.
        reason: in words.
        trials: that it had; None where it was skipped.
        asked: trials that were asked for.
    """

    step: str
    reason: str
    trials: int | None = None
    asked: int | None = None

    def sentence(self) -> str:
        """Tell it in a sentence."""
        if self.trials is None:
            return f"Step {self.step} was skipped: {self.reason}."
        return f"Step {self.step} ended after {self.trials} of {self.asked} trials: {self.reason}."


class Endings:
    """Keeps the endings of one experiment, whose processes may be several.

    Args:
        folder: the run folder.
        storage: of the studies.

    """

    def __init__(self, folder: Path, storage: BaseStorage) -> None:
        self._folder = folder
        self._path = folder / ENDINGS_FILE
        self._storage = storage

    def note(self, ending: Ending) -> None:
        """Keep why a step ended, instead of what was known of it before."""
        self._change(lambda told: [*_without(told, ending.step), asdict(ending)])

    def forget(self, step: str) -> None:
        """Keep nothing of a step that begins, or goes on."""
        self._change(lambda told: _without(told, step))

    def clear(self) -> None:
        """Keep nothing of any step."""
        self._change(lambda _: [])

    def _change(self, change: Callable[[list[Any]], list[Any]]) -> None:
        with written_alone(self._storage, self._folder):
            left = change(_read(self._path))
            if left:
                write_json(self._path, left)
            else:
                self._path.unlink(missing_ok=True)


def _read(path: Path) -> list[Any]:
    """Return what is kept; nothing where that is damaged, for every run tells it anew."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return told if isinstance(told, list) else []


def _without(told: list[Any], step: str) -> list[Any]:
    return [each for each in told if isinstance(each, dict) and each.get("step") != step]
