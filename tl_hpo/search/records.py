"""The tables of a run folder that a search keeps up to date."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tl_hpo.files import write_csv
from tl_hpo.search.repeats import REPEAT_COLUMNS, Repeated, rows
from tl_hpo.search.study import CURVE, DUPLICATE_OF, REASON, SETTINGS, WAITS_FOR, result_of
from tl_hpo.search.usual_axes import further_settings, values_along

TRIAL_COLUMNS = (
    "step",
    "number",
    "state",
    "model",
    "head_optimizer",
    "head_lr",
    "finetune_optimizer",
    "finetune_lr",
    "delimiting_layer",
    "n_layers",
    "val_accuracy",
    "epochs",
    "seconds",
    "started",
    "reason",
)
CURVE_COLUMNS = (
    "step",
    "number",
    "phase",
    "epoch",
    "train_loss",
    "val_loss",
    "val_accuracy",
    "elapsed_seconds",
)

INTERRUPTED = "interrupted, will be run again"  # the reason of a trial that waits

Trials = Mapping[str, Sequence[FrozenTrial]]


def write_trials(path: Path, trials: Trials) -> None:
    """Write trials.csv: a row per trial of every step that has begun.

    What a strategy searches beyond the usual axes has columns of its own, after the others.
    """
    further = further_settings(trial for of_step in trials.values() for trial in of_step)
    of_trials = [
        values_along(trial, further) | _trial_row(step, trial)
        for step, of_step in trials.items()
        for trial in of_step
        if _is_one_to_tell(trial)
    ]
    write_csv(path, (*TRIAL_COLUMNS, *further), of_trials)


def _is_one_to_tell(trial: FrozenTrial) -> bool:
    """Tell whether a trial has begun, and is not another one's double."""
    attributes = trial.user_attrs
    begun = trial.state != TrialState.WAITING or SETTINGS in attributes
    return begun and DUPLICATE_OF not in attributes and attributes.get(WAITS_FOR) is None


def _trial_row(step: str, trial: FrozenTrial) -> dict[str, Any]:
    result = result_of(trial)
    interrupted = trial.state == TrialState.WAITING
    state = TrialState.RUNNING if interrupted else trial.state  # a contract: there are four
    taken = ("delimiting_layer", "n_layers", "val_accuracy", "epochs", "seconds")
    return {
        "step": step,
        "number": trial.number,
        "state": state.name,
        **trial.user_attrs.get(SETTINGS, {}),
        **{key: result[key] for key in taken if key in result},
        "started": _time(trial.datetime_start),
        "reason": INTERRUPTED if interrupted else trial.user_attrs.get(REASON, ""),
    }


def _time(moment: datetime | None) -> str:
    return moment.astimezone().isoformat(timespec="seconds") if moment else ""


def write_curves(path: Path, trials: Trials) -> None:
    """Write curves.csv: a row per epoch of every finished trial."""
    of_epochs = [
        {"step": step, "number": trial.number, **epoch}
        for step, of_step in trials.items()
        for trial in of_step
        if trial.state.is_finished()
        for epoch in trial.user_attrs.get(CURVE, [])
    ]
    write_csv(path, CURVE_COLUMNS, of_epochs)


def write_repeats(path: Path, results: Sequence[Repeated], seed: int, times: int) -> None:
    """Write repeats.csv: a row per training of a configuration that was trained again."""
    write_csv(path, REPEAT_COLUMNS, rows(results, seed, times))


def last_elapsed(trials: Trials) -> float:
    """Return the seconds that the experiment has run for, up to its last recorded epoch."""
    return max(
        (
            epoch["elapsed_seconds"]
            for of_step in trials.values()
            for trial in of_step
            for epoch in trial.user_attrs.get(CURVE, [])
        ),
        default=0.0,
    )
