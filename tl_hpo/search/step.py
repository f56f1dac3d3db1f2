"""One step of an experiment: its trials, one after another, until there are as many as asked."""

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.errors import UserError
from tl_hpo.files import write_text
from tl_hpo.overrides import merged
from tl_hpo.search.pruners import MAJORITY_SHARE
from tl_hpo.search.runner import Runner
from tl_hpo.search.space import SearchSpace
from tl_hpo.search.study import CURVE, OVERRIDES, REASON, RESULT, SETTINGS, finished
from tl_hpo.training.result import EpochRecord, TrialResult

logger = logging.getLogger(__name__)

_CURVE_KEYS = ("phase", "epoch", "train_loss", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class StepRun:
    """What a step needs to run.

    Attributes:
        overrides: what all its trials share.
        folder: of a trial, by its number.
        clock: seconds since the start of the experiment.
        keep_model: tells of a result whether its model is the best so far.
        changed: called when a trial has begun or ended.
    """

    name: str
    n_trials: int
    study: optuna.Study
    space: SearchSpace
    overrides: Sequence[str]
    runner: Runner
    folder: Callable[[int], Path]
    clock: Callable[[], float]
    keep_model: Callable[[TrialResult], bool]
    changed: Callable[[], None]


def run_step(step: StepRun) -> None:
    """Run trials until the study holds as many finished ones as asked.

    Raises:
        UserError: a trial's configuration cannot work; the trial waits to be run again.
        RuntimeError: every trial failed.
    """
    while len(finished(step.study)) < step.n_trials:
        trial = step.study.ask(fixed_distributions=step.space.distributions)
        _run_trial(step, trial)
    if not any(trial.user_attrs.get(RESULT) for trial in finished(step.study)):
        reason = finished(step.study)[-1].user_attrs.get(REASON, "")
        raise RuntimeError(f"every trial of step {step.name} failed, the last one with: {reason}")


def _run_trial(step: StepRun, trial: Trial) -> None:
    overrides = merged(step.overrides, step.space.overrides(trial.params))
    trial.set_user_attr(OVERRIDES, overrides)
    trial.set_user_attr(SETTINGS, step.runner.settings(overrides))
    step.changed()
    curve: list[dict[str, Any]] = []
    folder = step.folder(trial.number)
    try:
        result = step.runner.run(
            overrides, folder, _reporter(trial, curve, step.clock), step.keep_model
        )
    except UserError:
        raise
    except Exception as error:  # whatever breaks a trial must not end the experiment
        _fail(step, trial, folder, error, curve)
    else:
        _finish(step, trial, result, curve)
    step.changed()


def _reporter(
    trial: Trial, curve: list[dict[str, Any]], clock: Callable[[], float]
) -> Callable[[EpochRecord], bool]:
    def report(record: EpochRecord) -> bool:
        row = {key: asdict(record)[key] for key in _CURVE_KEYS}
        curve.append(row | {"elapsed_seconds": round(clock(), 3)})
        if record.number == 1:
            trial.set_user_attr(MAJORITY_SHARE, record.majority_share)
        values[record.number] = record.objective
        if record.number not in told:
            trial.report(record.objective, record.number)
        return _cancels(trial, values)

    # What an interrupted run of this trial reported stays in the storage; it does not count.
    told = set(_stored(trial).intermediate_values)
    values: dict[int, float] = {}
    return report


def _stored(trial: Trial) -> FrozenTrial:
    return trial.study.get_trials(deepcopy=True)[trial.number]


def _cancels(trial: Trial, values: dict[int, float]) -> bool:
    """Ask the pruner about the epochs of this run alone: ``values`` by epoch, from 1."""
    frozen = _stored(trial)
    frozen.intermediate_values = values
    return trial.study.pruner.prune(trial.study, frozen)


def _finish(step: StepRun, trial: Trial, result: TrialResult, curve: list[dict[str, Any]]) -> None:
    trial.set_user_attr(CURVE, curve)
    trial.set_user_attr(REASON, result.reason)
    trial.set_user_attr(RESULT, result.as_dict())
    if result.state == "PRUNED":
        step.study.tell(trial, state=TrialState.PRUNED)
    else:
        step.study.tell(trial, result.objective)
    logger.info("%s", describe_trial(step.name, trial.number, step.n_trials, trial, result))


def _fail(
    step: StepRun, trial: Trial, folder: Path, error: Exception, curve: list[dict[str, Any]]
) -> None:
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
    write_text(folder / "error.txt", traceback.format_exc())
    trial.set_user_attr(CURVE, curve)
    trial.set_user_attr(REASON, reason)
    step.study.tell(trial, state=TrialState.FAIL)
    logger.warning(
        "%s trial %d (%d of %d)  failed: %s (%s)",
        step.name,
        trial.number,
        trial.number + 1,
        step.n_trials,
        reason,
        folder / "error.txt",
    )


def describe_trial(
    step: str, number: int, n_trials: int, trial: Trial | FrozenTrial, result: TrialResult
) -> str:
    """Return one line about a finished trial."""
    settings = trial.user_attrs[SETTINGS]
    chosen = (
        f"{settings['model']}, head {settings['head_optimizer']} {settings['head_lr']:.2g}, "
        f"fine-tune {settings['finetune_optimizer']} {settings['finetune_lr']:.2g}, "
        f"layer {result.delimiting_layer}/{result.n_layers}"
    )
    reason = f" ({result.reason})" if result.reason else ""
    return (
        f"{step} trial {number} ({number + 1} of {n_trials})  "
        f"accuracy {result.val_accuracy:.4f}  {chosen}  {result.seconds:.0f} s{reason}"
    )


def make_clock(before: float) -> Callable[[], float]:
    """Return a clock of seconds that goes on from ``before``, whatever the wall clock does."""
    started = time.monotonic()
    return lambda: before + time.monotonic() - started
