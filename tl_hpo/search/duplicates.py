"""Trials that would train what another has trained already: known by their identity."""

from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.overrides import key_of, override
from tl_hpo.search.study import DUPLICATE_OF, IDENTITY, finished, result_of

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


def tell_as(study: optuna.Study, trial: Trial, twin: FrozenTrial) -> None:
    """End ``trial`` with what its twin came to; it is not one of the trials that were asked for."""
    trial.set_user_attr(DUPLICATE_OF, twin.number)
    for step, value in twin.intermediate_values.items():
        trial.report(value, step)
    if twin.state == TrialState.PRUNED:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, twin.value)


def in_a_row(study: optuna.Study) -> int:
    """Return how many duplicates were proposed since the last trial that was none."""
    trials = study.get_trials(deepcopy=False)
    count = 0
    for trial in reversed(trials):
        if not trial.state.is_finished():
            continue
        if DUPLICATE_OF not in trial.user_attrs:
            break
        count += 1
    return count
