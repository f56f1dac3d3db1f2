"""The axes that strategies usually search, and what a trial has along others."""

import math
from collections.abc import Iterable, Mapping, Sequence

from optuna.trial import BaseTrial

from tl_hpo.overrides import values_of
from tl_hpo.search.earlier import PHASES
from tl_hpo.search.study import OVERRIDES, POINT

# Overrides that are a setting of the phases: which setting, and of which phases.
OF_PHASES = {
    "optimizer": ("optimizer", PHASES),
    "optimizer.lr": ("lr", PHASES),
    **{f"optimizer@{phase}.optimizer": ("optimizer", (phase,)) for phase in PHASES},
    **{f"{phase}.optimizer.lr": ("lr", (phase,)) for phase in PHASES},
}
USUAL_AXES = frozenset({"model", "model.name", "delimiting_layer", *OF_PHASES})


def further_settings(trials: Iterable[BaseTrial]) -> list[str]:
    """Return what the steps of these trials chose beyond the usual axes: keys of overrides."""
    chosen = (key for trial in trials for key in values_of(trial.user_attrs.get(POINT, ())))
    return [key for key in dict.fromkeys(chosen) if key not in USUAL_AXES]


def values_along(trial: BaseTrial, keys: Sequence[str]) -> dict[str, str]:
    """Return what a trial has of these keys, as text: chosen by its step, or by one before.

    What the step chose comes first: where memory was short, the batch that ran is another.
    """
    given = values_of(trial.user_attrs.get(OVERRIDES, ()))
    given |= values_of(trial.user_attrs.get(POINT, ()))
    return {key: given[key] for key in keys if key in given}


def told_once(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the rows with what both phases have alike in all of them once, without the phase."""
    head, finetune = (f"{phase}." for phase in PHASES)
    keys = dict.fromkeys(key for row in rows for key in row)
    shared = {
        key: key.removeprefix(head)
        for key in keys
        if key.startswith(head)
        and all(row.get(key) == row.get(finetune + key.removeprefix(head)) for row in rows)
    }
    dropped = {finetune + name for name in shared.values()}
    return [
        {shared.get(key, key): text for key, text in row.items() if key not in dropped}
        for row in rows
    ]


def chosen_besides(trial: BaseTrial) -> dict[str, str]:
    """Return what a trial's own step chose beyond the usual axes, as it is to be told."""
    (told,) = told_once([values_along(trial, further_settings([trial]))])
    return told


def short_value(text: str) -> str:
    """Return a value for a reader: a fraction with many digits in four."""
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{number:.4g}" if "." in text and math.isfinite(number) else text
