"""Which past trials a model may learn from, and the score of each."""

import math
from dataclasses import dataclass
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tl_hpo.search.samplers.axes import Axes
from tl_hpo.search.study import result_of


@dataclass(frozen=True)
class Observation:
    """A past trial: its parameters, its categories included, its score, and what it took."""

    params: dict[str, Any]
    score: float
    seconds: float | None = None


def observations(study: Study, axes: Axes) -> list[Observation]:
    """Return the usable past trials of a study, in the order of their numbers.

    Failed and running trials are not usable, nor those without a finite score or without a value
    within every axis.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    scored = ((trial, _score(trial, study.direction)) for trial in trials)
    return [
        Observation(dict(trial.params), score, result_of(trial).get("seconds"))
        for trial, score in scored
        if score is not None and math.isfinite(score) and axes.holds(trial.params)
    ]


def pending(study: Study, axes: Axes, number: int) -> list[dict[str, Any]]:
    """Return the parameters of the running trials other than ``number``, where they have all."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    others = [trial.params for trial in trials if trial.number != number]
    return [dict(params) for params in others if axes.holds(params)]


def sign(direction: StudyDirection) -> float:
    """Return what to multiply scores by so that less is better, as GPyOpt has it."""
    return -1.0 if direction == StudyDirection.MAXIMIZE else 1.0


def _score(trial: FrozenTrial, direction: StudyDirection) -> float | None:
    """Return the value; of a pruned trial the best intermediate value, where it has one.

    A trial ends with the weights of its best epoch, so that is what a pruned one was worth.
    """
    reported = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
    if trial.state == TrialState.PRUNED and reported:
        return max(reported) if direction == StudyDirection.MAXIMIZE else min(reported)
    return trial.value
