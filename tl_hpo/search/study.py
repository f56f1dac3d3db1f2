"""Studies: one per step, in one Optuna storage, and what is kept in their trials."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.search.sole_storage import SoleStorage

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

STUDY_FILE = "study.db"  # of a run folder
REPEATS = "repeats"  # the study of configurations that are trained again, no step of a search
WAIT_SECONDS = 60.0  # for another process that writes

# User attributes of a trial.
OVERRIDES = "overrides"  # list of str: what train.py repeats it with
SETTINGS = "settings"  # the columns of trials.csv that describe it
RESULT = "result"  # what result.json holds
CURVE = "curve"  # a row of curves.csv per epoch
REASON = "reason"  # why it ended early, or failed
POINT = "point"  # list of str: the overrides that its step chose
IDENTITY = "identity"  # list of str: equal in trials that train the same
WAITS_FOR = "waits_for"  # number of a running trial that trains the same, or None
DUPLICATE_OF = "duplicate_of"  # number of the trial whose score it was told, untrained
OWNER = "owner"  # which of several processes runs it
DUPLICATE_IN = "duplicate_in"  # name of that trial's study, where it is another
EARLIER = "earlier"  # str: the trial of an earlier experiment that it is again
EXPECTED = "expected_improvement"  # the largest there was when it was proposed


def open_storage(path: Path) -> SoleStorage:
    """Return the SQLite storage at ``path``, made if absent, for one process that writes to it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def connect() -> sqlite3.Connection:  # a path of any characters, which a URL would not take
        return sqlite3.connect(path, timeout=WAIT_SECONDS, check_same_thread=False)

    return SoleStorage(RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect}))


def open_study(
    storage: BaseStorage, name: str, sampler: BaseSampler, pruner: BasePruner
) -> optuna.Study:
    """Return the study ``name``; its interrupted trials wait to be run again.

    They keep number and parameters, so that an experiment ends with as many trials as asked. In a
    storage that others write to as well, what runs may be theirs.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )
    if isinstance(study._storage, SoleStorage | InMemoryStorage):
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            wait_again(study, trial)
    return study


def stored_trials(storage: BaseStorage, names: Sequence[str]) -> dict[str, list[FrozenTrial]]:
    """Return the trials of those of the studies that have begun, by name; not to be changed."""
    begun = {study.study_name: study._study_id for study in storage.get_all_studies()}
    return {
        name: storage.get_all_trials(begun[name], deepcopy=False) for name in names if name in begun
    }


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are over, whatever became of them; duplicates are none."""
    over = study.get_trials(deepcopy=False, states=FINISHED)
    return [trial for trial in over if DUPLICATE_OF not in trial.user_attrs]


def running(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are under way; those that wait for another's score are none."""
    begun = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in begun if trial.user_attrs.get(WAITS_FOR) is None]


def wait_again(study: optuna.Study, trial: Trial | FrozenTrial) -> None:
    """Let a trial that has been begun wait to be run again, with its number and parameters."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def rank(state: str, objective: float) -> tuple[bool, float]:
    """Return what orders trials from worse to better: a cancelled one is below every other."""
    return state == TrialState.COMPLETE.name, objective


def rank_of(trial: FrozenTrial) -> tuple[bool, float]:
    """Return the rank of a finished trial that has a result."""
    return rank(trial.state.name, result_of(trial)["objective"])


def best_of(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the best of ``trials``, the first among equals; None when none has a result."""
    judged = [trial for trial in trials if trial.user_attrs.get(RESULT)]
    return max(judged, key=rank_of, default=None)


def result_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return what the trial's result.json holds, or nothing while it has none."""
    return trial.user_attrs.get(RESULT) or {}
