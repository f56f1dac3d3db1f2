"""Which past trials a model may learn from, and the score of each."""

import math
from dataclasses import dataclass
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tl_hpo.search.samplers.axes import Axes
from tl_hpo.search.study import DUPLICATE_OF, result_of


@dataclass(frozen=True)
class Observation:
    """A past trial: its parameters, its categories included, its score, and what it took.

    Attributes:
        told: whether the trial was not trained, but told the score of another.
        failed: whether it failed; then the score is none of its own, see `lessons`.

    """

    params: dict[str, Any]
    score: float
    seconds: float | None = None
    told: bool = False
    failed: bool = False


def observations(study: Study, axes: Axes) -> list[Observation]:
    """Return the usable past trials of a study, in the order of their numbers.

    Failed and running trials are not usable, nor those without a finite score or without a value
    within every axis.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    scored = ((trial, _score(trial, study.direction)) for trial in trials)
    return [
        Observation(
            dict(trial.params),
            score,
            result_of(trial).get("seconds"),
            told=DUPLICATE_OF in trial.user_attrs,
        )
        for trial, score in scored
        if score is not None and math.isfinite(score) and axes.holds(trial.params)
    ]


def lessons(study: Study, axes: Axes) -> list[Observation]:
    """Return what a model learns from: the usable past trials, then every point that only failed.

    A model that did not know of them would expect the most where it knows nothing, and propose a
    point that always fails again and again. They are as bad as the worst usable trial, which is
    bad enough to look elsewhere, and leaves the model its scale. Without a usable trial there is
    nothing to learn.
    """
    past = observations(study, axes)
    if not past:
        return []
    worst = _worst([each.score for each in past], study.direction)
    found = list(past)
    known = axes.encode([each.params for each in past]).tolist()
    for params in failures(study, axes):
        row = axes.encode([params])[0].tolist()
        if row not in known:
            known.append(row)
            found.append(Observation(params, worst, failed=True))
    return found


def failures(study: Study, axes: Axes) -> list[dict[str, Any]]:
    """Return the parameters of the failed trials, where they have all."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return [dict(trial.params) for trial in trials if axes.holds(trial.params)]


def pending(study: Study, axes: Axes, number: int) -> list[dict[str, Any]]:
    """Return the parameters of the running trials other than ``number``, where they have all."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    others = [trial.params for trial in trials if trial.number != number]
    return [dict(params) for params in others if axes.holds(params)]


def sign(direction: StudyDirection) -> float:
    """Return what to multiply scores by so that less is better, as GPyOpt has it."""
    return -1.0 if direction == StudyDirection.MAXIMIZE else 1.0


def _worst(scores: list[float], direction: StudyDirection) -> float:
    return min(scores) if direction == StudyDirection.MAXIMIZE else max(scores)


def _score(trial: FrozenTrial, direction: StudyDirection) -> float | None:
    """Return the value; of a pruned trial the best intermediate value, where it has one.

    A trial ends with the weights of its best epoch, so that is what a pruned one was worth.
    """
    reported = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
    if trial.state == TrialState.PRUNED and reported:
        return max(reported) if direction == StudyDirection.MAXIMIZE else min(reported)
    return trial.value
