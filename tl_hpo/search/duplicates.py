"""Trials that would train what another has trained already: known by their identity."""

from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.overrides import key_of, override
from tl_hpo.search.study import (
    DUPLICATE_OF,
    IDENTITY,
    WAITS_FOR,
    finished,
    result_of,
    running,
    wait_again,
)

_LAYER = "delimiting_layer"


def identity(overrides: Sequence[str], count_layers: Callable[[], int]) -> list[str]:
    """Return what two trials share exactly if they train the same, whatever the order of overrides.

    A delimiting layer given as a fraction is the layer that it is rounded to.
    """
    return sorted(_rounded(text, count_layers) for text in overrides)


def _rounded(text: str, count_layers: Callable[[], int]) -> str:
    if key_of(text) != _LAYER:
        return text
    value = text.partition("=")[2]
    if value.lstrip("-").isdigit():
        return text
    return override(_LAYER, resolve_delimiting_layer(float(value), count_layers()))


def twin_of(study: optuna.Study, own: Sequence[str]) -> FrozenTrial | None:
    """Return the finished trial of the identity ``own`` that has a result, if there is one."""
    for trial in finished(study):
        if result_of(trial) and trial.user_attrs.get(IDENTITY) == list(own):
            return trial
    return None


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


def tell_as(study: optuna.Study, trial: Trial | FrozenTrial, twin: FrozenTrial) -> None:
    """End ``trial`` with what its twin came to; it is not one of the trials that were asked for."""
    storage = study._storage
    storage.set_trial_user_attr(trial._trial_id, DUPLICATE_OF, twin.number)
    for step, value in twin.intermediate_values.items():
        storage.set_trial_intermediate_value(trial._trial_id, step, value)
    if twin.state == TrialState.PRUNED:
        study.tell(trial.number, state=TrialState.PRUNED)
    else:
        study.tell(trial.number, twin.value)


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
