"""Trials that would train what another has trained already: known by their identity."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.overrides import key_of, override
from tl_hpo.search.runner import Runner
from tl_hpo.search.study import (
    DUPLICATE_IN,
    DUPLICATE_OF,
    IDENTITY,
    WAITS_FOR,
    finished,
    result_of,
    running,
    wait_again,
)

MAX_FAILURES = 2  # of an identity: one may be an accident, two are what comes of it

_LAYER = "delimiting_layer"


@dataclass(frozen=True)
class Twin:
    """A trial that tells what another comes to, and the study that it is of."""

    study: optuna.Study
    trial: FrozenTrial


def identity(overrides: Sequence[str], runner: Runner) -> list[str]:
    """Return what two trials share exactly if they train the same, whatever the order of overrides.

    The delimiting layer is the one that the trial is cut at, however it is given: as a fraction, by
    an interpolation, or not at all. Other overrides count as they are written.

    Raises:
        UserError: there is no such layer.
    """
    others = [text for text in overrides if key_of(text) != _LAYER]
    return sorted([*others, override(_LAYER, _layer(overrides, runner))])


def _layer(overrides: Sequence[str], runner: Runner) -> int:
    given = runner.settings(overrides)[_LAYER]
    return resolve_delimiting_layer(given, runner.count_layers(overrides))


def twin_of(studies: Sequence[optuna.Study], own: Sequence[str]) -> Twin | None:
    """Return the finished trial that tells what comes of the identity ``own``, if there is one.

    That is one with a result; or the last of those that failed, once they are `MAX_FAILURES`.
    """
    twins = [
        Twin(study, trial)
        for study in studies
        for trial in finished(study)
        if trial.user_attrs.get(IDENTITY) == list(own)
    ]
    for twin in twins:
        if result_of(twin.trial):
            return twin
    return twins[-1] if len(twins) >= MAX_FAILURES else None


def running_twin_of(study: optuna.Study, number: int, own: Sequence[str]) -> FrozenTrial | None:
    """Return the trial under way of the identity ``own``, other than ``number``, if any."""
    for trial in running(study):
        if trial.number != number and trial.user_attrs.get(IDENTITY) == list(own):
            return trial
    return None


def defer(trial: Trial, twin: FrozenTrial | None) -> None:
    """Let ``trial`` wait for the score of its twin, or for none."""
    if twin is not None or WAITS_FOR in trial.user_attrs:
        trial.set_user_attr(WAITS_FOR, None if twin is None else twin.number)


def settle(study: optuna.Study) -> None:
    """Tell the trials that wait for a twin's score what it came to, if its twin is over.

    One whose twin has none, or no longer runs, waits to be run itself.
    """
    trials = study.get_trials(deepcopy=False)
    under_way = {trial.number for trial in running(study)}
    for trial in trials:
        number = trial.user_attrs.get(WAITS_FOR)
        if trial.state != TrialState.RUNNING or number is None or number in under_way:
            continue
        if trials[number].state.is_finished() and result_of(trials[number]):
            tell_as(study, trial, trials[number])
        else:
            wait_again(study, trial)


def tell_as(
    study: optuna.Study,
    trial: Trial | FrozenTrial,
    twin: FrozenTrial,
    of: optuna.Study | None = None,
) -> None:
    """End ``trial`` with what its twin came to; it is not one of the trials that were asked for.

    Args:
        study: of the trial.
        trial: has begun.
        twin: has finished.
        of: the study of the twin; None: the same.

    """
    storage = study._storage
    storage.set_trial_user_attr(trial._trial_id, DUPLICATE_OF, twin.number)
    if of is not None and of.study_name != study.study_name:
        storage.set_trial_user_attr(trial._trial_id, DUPLICATE_IN, of.study_name)
    for step, value in twin.intermediate_values.items():
        storage.set_trial_intermediate_value(trial._trial_id, step, value)
    if twin.state == TrialState.COMPLETE:
        study.tell(trial.number, twin.value)
    else:
        study.tell(trial.number, state=twin.state)


def in_a_row(study: optuna.Study) -> int:
    """Return how many duplicates were proposed since the last finished trial that was none."""
    trials = study.get_trials(deepcopy=False)
    count = 0
    for trial in reversed(trials):
        if not trial.state.is_finished():
            waits = (
                trial.state == TrialState.RUNNING and trial.user_attrs.get(WAITS_FOR) is not None
            )
            count += waits
            continue
        if DUPLICATE_OF not in trial.user_attrs:
            break
        count += 1
    return count
