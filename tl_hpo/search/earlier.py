"""What earlier experiments found: the trials of their run folders, which are only read."""

import math
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tl_hpo.errors import UserError
from tl_hpo.overrides import values_of
from tl_hpo.search.study import (
    OVERRIDES,
    REPEATS,
    SETTINGS,
    STUDY_FILE,
    WAIT_SECONDS,
    open_storage,
    result_of,
)

PHASES = ("head", "finetune")
# Settings of a trial that have a meaning of their own in any search space.
CHOSEN = ("model", "head_optimizer", "head_lr", "finetune_optimizer", "finetune_lr")


@dataclass(frozen=True)
class Earlier:
    """One configuration of an earlier experiment, and what it came to.

    Attributes:
        folder: the run folder.
        step, number: the trial.
        objective: its value; comparable within its folder alone.
        settings: its columns of trials.csv.
        overrides: of train.py.
        layer: its delimiting layer, 0..n_layers.
        n_layers: of its model.
        axes: keys of all axes that its experiment searched.
        accuracy: on the validation side there, None where it is not known.
    """

    folder: Path
    step: str
    number: int
    objective: float
    settings: dict[str, Any]
    overrides: tuple[str, ...]
    layer: int
    n_layers: int
    axes: frozenset[str]
    accuracy: float | None = None

    def __str__(self) -> str:
        return f"{self.folder} {self.step} trial {self.number}"

    @property
    def values(self) -> dict[str, str]:
        """What its overrides set, as text, by their keys."""
        return values_of(self.overrides)

    @property
    def head_only(self) -> bool:
        """Whether it had no fine-tuning, so that its settings of that phase say nothing."""
        return self.values.get("finetune.epochs") == "0"

    @property
    def configuration(self) -> tuple[Any, ...]:
        """What makes it distinct: its settings, its depth, and what else was searched."""
        values = self.values
        others = sorted((self.axes & values.keys()) - {"delimiting_layer"})
        return (
            *(self.settings[key] for key in CHOSEN),
            (self.layer, self.n_layers, self.head_only),
            *((key, values[key]) for key in others),
        )


def configurations(folders: Sequence[Path]) -> list[Earlier]:
    """Return the distinct configurations of earlier experiments, the best first.

    Objectives of different experiments do not compare. So the folders take turns by rank: the
    best of each in the order of the folders, then the second best of each, and so on.

    Raises:
        UserError: a folder holds no finished trials that can be read.
    """
    ranked = [_distinct(_best_first(_read(Path(folder)))) for folder in folders]
    in_turn = chain.from_iterable(zip_longest(*ranked))
    return list(_distinct(each for each in in_turn if each is not None))


def _distinct(trials: Iterable[Earlier]) -> Iterator[Earlier]:
    seen = set()
    for each in trials:
        if each.configuration not in seen:
            seen.add(each.configuration)
            yield each


def _best_first(trials: Iterable[Earlier]) -> list[Earlier]:
    return sorted(trials, key=lambda each: -each.objective)  # stable: the earliest among equals


def _read(folder: Path) -> list[Earlier]:
    """Return the completed trials of a run folder, in the order of its steps and their trials."""
    path = folder / STUDY_FILE
    if not os.path.isfile(path):  # False as well where the folder may not be read
        raise unreadable(folder, "it has no study.db to read")
    try:
        with TemporaryDirectory() as temporary:
            copy = Path(temporary) / "study.db"
            _copy(path, copy)
            steps = _steps(copy)
    except Exception as error:  # of sqlite, SQLAlchemy, Optuna or json: it is no study of ours
        lines = str(error).strip().splitlines()
        detail = f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
        raise unreadable(folder, f"its study.db cannot be read ({detail})") from error
    axes = frozenset(key for trials in steps.values() for trial in trials for key in trial.params)
    found = [
        _earlier(folder, step, trial, axes)
        for step, trials in steps.items()
        for trial in trials
        if step != REPEATS and _is_usable(trial)
    ]
    if not found:
        raise unreadable(folder, "its study.db holds no completed trial of optimize.py")
    return found


def unreadable(folder: Path, why: str) -> UserError:
    """Return what to raise for an earlier run folder that cannot be understood."""
    return UserError(
        f"search.warm_start must name run folders of optimize.py, got {str(folder)!r}: {why}; "
        "name the folder that holds study.db, or leave it out."
    )


def _copy(path: Path, copy: Path) -> None:
    """Copy a database that others may be writing, without changing anything beside it."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.OperationalError:
        # A killed writer left a journal, which must be rolled back: in the copy, not there.
        for suffix in ("", "-journal", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")


def _steps(path: Path) -> dict[str, list[FrozenTrial]]:
    """Return the trials of every study of a storage, in the order in which they began."""
    storage = open_storage(path)
    try:
        studies = sorted(storage.get_all_studies(), key=lambda study: study._study_id)
        return {each.study_name: storage.get_all_trials(each._study_id) for each in studies}
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _is_usable(trial: FrozenTrial) -> bool:
    """Tell whether a trial of any study was completed by optimize.py."""
    result, settings = result_of(trial), trial.user_attrs.get(SETTINGS) or {}
    objective = result.get("objective")
    return (
        trial.state == TrialState.COMPLETE
        and isinstance(objective, (int, float))
        and math.isfinite(objective)
        and {"delimiting_layer", "n_layers"} <= result.keys()
        and set(CHOSEN) <= settings.keys()
        and OVERRIDES in trial.user_attrs
    )


def _earlier(folder: Path, step: str, trial: FrozenTrial, axes: frozenset[str]) -> Earlier:
    result = result_of(trial)
    overrides = trial.user_attrs[OVERRIDES]
    return Earlier(
        folder=folder,
        step=step,
        number=trial.number,
        objective=float(result["objective"]),
        settings=trial.user_attrs[SETTINGS] | _optimizers(values_of(overrides)),
        overrides=tuple(overrides),
        layer=result["delimiting_layer"],
        n_layers=result["n_layers"],
        axes=axes,
        accuracy=result.get("val_accuracy"),
    )


def _optimizers(values: Mapping[str, str]) -> dict[str, str]:
    """Return the optimizers by the names of their configs; settings name the class behind them."""
    named = {
        f"{phase}_optimizer": values.get(f"optimizer@{phase}.optimizer", values.get("optimizer"))
        for phase in PHASES
    }
    return {key: name for key, name in named.items() if name is not None}
