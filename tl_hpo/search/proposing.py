"""Proposes the next trial of a step, or says why there is none."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState

from tl_hpo.overrides import merged
from tl_hpo.search.duplicates import (
    defer,
    identity,
    in_a_row,
    running_twin_of,
    settle,
    tell_as,
    twin_of,
)
from tl_hpo.search.endings import Ending
from tl_hpo.search.samplers import ask_seed
from tl_hpo.search.sharing import is_surplus, revive_dead
from tl_hpo.search.step import StepRun
from tl_hpo.search.study import EXPECTED, IDENTITY, POINT, finished, running, wait_again

logger = logging.getLogger(__name__)

MAX_DUPLICATES = 100  # in a row: then the space counts as explored
_RANDOM_AFTER = 2  # duplicates in a row: from then on points are drawn at random


@dataclass(frozen=True)
class Offer:
    """A trial that is to be run next."""

    step: StepRun
    trial: Trial
    overrides: Sequence[str]


def propose(step: StepRun) -> Offer | str | None:
    """Return the next trial; None while those that run must end first; or why there is none.

    A point that would train what another trial has trained is not trained: its sampler is told
    the score of that trial, now or as soon as it is known, and asked for another point. So it is
    with a point that has failed time and again; its sampler is told that it failed.
    """
    while True:
        study = step.study
        revive_dead(study)
        settle(study)
        done = len(finished(study))
        if done >= step.n_trials:
            return ""
        if done + len(running(study)) >= step.n_trials:
            return None
        expected = step.improvement(study) if step.improvement else None
        reason = _reason_to_stop(step, expected)
        if reason:
            return None if running(study) else reason
        trial = _ask(step)
        if expected is not None:
            trial.set_user_attr(EXPECTED, expected)
        offer = _offer(step, trial)
        if offer is not None and is_surplus(study, trial, step.n_trials):
            wait_again(study, trial)
        elif offer is not None:
            return offer


def _reason_to_stop(step: StepRun, expected: float | None) -> str:
    """Return why no further trial is worth it, or nothing."""
    study = step.study
    return step.limits.reason(step.clock(), _improvements(study, expected)) or is_used_up(study)


def _improvements(study: optuna.Study, expected: float | None) -> list[float | None]:
    """Return the improvements that were expected of the trials, the next one's last.

    None while a trial waits, for that was interrupted, or promised by a warm start: it is run.
    """
    if study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        return []
    return [*(trial.user_attrs.get(EXPECTED) for trial in finished(study)), expected]


def is_used_up(study: optuna.Study) -> str:
    """Return that there is no point that has not been tried, or nothing."""
    exhausted = getattr(study.sampler, "exhausted", None)  # of a grid, which has a last point
    if exhausted:
        return "every point of the grid has been tried" if exhausted(study) else ""
    if in_a_row(study) >= MAX_DUPLICATES:
        return f"the last {MAX_DUPLICATES} proposals had all been tried"
    return ""


def describe_end(step: StepRun, reason: str) -> None:
    """Say, and keep, why a step begins no more trials, unless it has all that were asked for."""
    if reason:
        ending = Ending(step.name, reason, len(finished(step.study)), step.n_trials)
        logger.info("%s", ending.sentence())
        step.ended(ending)


def _ask(step: StepRun) -> Trial:
    """Return the next trial; a sampler that goes in circles is replaced by chance for once."""
    study = step.study
    if getattr(study.sampler, "advances", False) or in_a_row(study) < _RANDOM_AFTER:
        return study.ask(fixed_distributions=step.space.distributions)
    sampler = study.sampler
    study.sampler = RandomSampler(seed=ask_seed(step.seed, len(study.get_trials(deepcopy=False))))
    try:
        return study.ask(fixed_distributions=step.space.distributions)
    finally:
        study.sampler = sampler


def _offer(step: StepRun, trial: Trial) -> Offer | None:
    """Return the trial as one to run; None if another has its score, or will have it."""
    if step.listed:
        return Offer(step, trial, step.listed(trial.number))
    point = merged(step.chosen, step.space.overrides(trial.params))
    overrides = merged(step.overrides, point)
    own = identity(overrides, step.runner)
    twin = twin_of([step.study, *step.others()], own)
    if twin is not None:
        tell_as(step.study, trial, twin.trial, twin.study)
        logger.debug(
            "%s trial %d is %s trial %d again",
            step.name,
            trial.number,
            twin.study.study_name,
            twin.trial.number,
        )
        return None
    trial.set_user_attr(IDENTITY, own)
    other = running_twin_of(step.study, trial.number, own)
    defer(trial, other)
    if other is not None:
        return None
    trial.set_user_attr(POINT, point)
    return Offer(step, trial, overrides)
