"""What the trials of an experiment came to."""

from pathlib import Path

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from tl_hpo.search.records import Trials
from tl_hpo.search.strategy import Strategy
from tl_hpo.search.study import (
    RESULT,
    STUDY_FILE,
    best_of,
    finished,
    open_storage,
    rank_of,
    stored_trials,
)


def best_among(studies: dict[str, optuna.Study]) -> tuple[str, FrozenTrial] | None:
    """Return name and best trial of the study that holds the best; None without any result."""
    found = [(name, best_of(finished(study))) for name, study in studies.items()]
    judged = [(name, trial) for name, trial in found if trial is not None]
    return max(judged, key=lambda each: rank_of(each[1]), default=None)


def rank_after(study: optuna.Study, n_trials: int) -> tuple[bool, float]:
    """Return the rank of the best of the first ``n_trials``; studies without a result come last."""
    best = best_of(finished(study)[:n_trials])
    return rank_of(best) if best else (False, float("-inf"))


def has_results(folder: Path, strategy: Strategy, storage: BaseStorage | None = None) -> bool:
    """Tell whether an experiment has any finished trial of the strategy.

    Args:
        folder: the run folder.
        strategy: of the experiment.
        storage: of its studies; by default ``study.db`` in the run folder.

    """
    path = folder / STUDY_FILE
    if storage is None and not path.exists():
        return False
    return any_result(stored_trials(storage or open_storage(path), strategy.studies()))


def any_result(trials: Trials) -> bool:
    """Tell whether any of the trials has a result."""
    return any(trial.user_attrs.get(RESULT) for own in trials.values() for trial in own)
