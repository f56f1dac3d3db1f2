"""One step of an experiment: its trials, one after another, until there are as many as asked."""

import copy
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.errors import UserError
from tl_hpo.files import write_text
from tl_hpo.overrides import merged
from tl_hpo.search.duplicates import identity, in_a_row, tell_as, twin_of
from tl_hpo.search.limits import Limits
from tl_hpo.search.pruners import MAJORITY_SHARE
from tl_hpo.search.runner import Runner
from tl_hpo.search.samplers import ask_seed
from tl_hpo.search.space import SearchSpace
from tl_hpo.search.study import (
    CURVE,
    EXPECTED,
    IDENTITY,
    OVERRIDES,
    POINT,
    REASON,
    RESULT,
    SETTINGS,
    finished,
)
from tl_hpo.training.result import EpochRecord, TrialResult

logger = logging.getLogger(__name__)

_CURVE_KEYS = ("phase", "epoch", "train_loss", "val_loss", "val_accuracy")


MAX_DUPLICATES = 100  # in a row: then the space counts as explored
_RANDOM_AFTER = 2  # duplicates in a row: from then on points are drawn at random


@dataclass(frozen=True)
class StepRun:
    """What a step needs to run.

    Attributes:
        overrides: what all its trials share.
        chosen: of these, what the step itself decided.
        folder: of a trial, by its number.
        clock: seconds since the start of the experiment.
        keep_model: tells of a result whether its model is the best so far.
        changed: called when a trial has begun or ended.
        limits: what ends a search before its trials are done.
        improvement: the largest improvement to be expected of the next trial; None: not asked for.
        seed: of what is drawn at random where the sampler goes in circles.
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
    chosen: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    improvement: Callable[[optuna.Study], float | None] | None = None
    seed: int = 0


def run_step(step: StepRun) -> None:
    """Run trials until the study holds as many finished ones as asked, or a limit is reached.

    A point that would train what another trial has trained is not trained: its sampler is told
    the score of that trial, and asked for another point.

    Raises:
        UserError: a trial's configuration cannot work; the trial waits to be run again.
    """
    while len(finished(step.study)) < step.n_trials:
        expected = step.improvement(step.study) if step.improvement else None
        reason = _reason_to_stop(step, expected)
        if reason:
            done = len(finished(step.study))
            logger.info("Step %s ends after %d trials: %s", step.name, done, reason)
            return
        trial = _ask(step)
        if expected is not None:
            trial.set_user_attr(EXPECTED, expected)
        _run_trial(step, trial)


def _reason_to_stop(step: StepRun, expected: float | None) -> str:
    """Return why no further trial is worth it, or nothing."""
    past = [trial.user_attrs.get(EXPECTED) for trial in finished(step.study)]
    return (
        step.limits.reason(step.clock(), [*past, expected])
        or is_used_up(step.study)
        or (
            f"the last {MAX_DUPLICATES} proposals had all been tried"
            if in_a_row(step.study) >= MAX_DUPLICATES
            else ""
        )
    )


def is_used_up(study: optuna.Study) -> str:
    """Return that a sampler has a last point and has proposed it, or nothing."""
    exhausted = getattr(study.sampler, "exhausted", None)  # of a grid
    return "every point of the grid has been tried" if exhausted and exhausted(study) else ""


def _ask(step: StepRun) -> Trial:
    """Return the next trial; a sampler that goes in circles is replaced by chance for once."""
    study = step.study
    if in_a_row(study) < _RANDOM_AFTER:
        return study.ask(fixed_distributions=step.space.distributions)
    sampler = study.sampler
    study.sampler = RandomSampler(seed=ask_seed(step.seed, len(study.get_trials(deepcopy=False))))
    try:
        return study.ask(fixed_distributions=step.space.distributions)
    finally:
        study.sampler = sampler


def _run_trial(step: StepRun, trial: Trial) -> None:
    point = merged(step.chosen, step.space.overrides(trial.params))
    overrides = merged(step.overrides, point)
    own = identity(overrides, lambda: step.runner.count_layers(overrides))
    twin = twin_of(step.study, own)
    if twin is not None:
        tell_as(step.study, trial, twin)
        logger.debug("%s trial %d is trial %d again", step.name, trial.number, twin.number)
        return
    trial.set_user_attr(POINT, point)
    trial.set_user_attr(IDENTITY, own)
    run_trial(step, trial, overrides)


def run_trial(step: StepRun, trial: Trial, overrides: Sequence[str]) -> None:
    """Train one trial, whatever becomes of it, and tell the study.

    Raises:
        UserError: the configuration cannot work.
    """
    trial.set_user_attr(OVERRIDES, list(overrides))
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
        values[record.step] = record.objective
        if record.step not in told:
            trial.report(record.objective, record.step)
        return _cancels(trial, values)

    # What an interrupted run of this trial reported stays in the storage; it does not count.
    told = set(_stored(trial).intermediate_values)
    values: dict[int, float] = {}
    return report


def _stored(trial: Trial) -> FrozenTrial:
    return copy.deepcopy(trial.study._storage.get_trial(trial._trial_id))


def _cancels(trial: Trial, values: dict[int, float]) -> bool:
    """Ask the pruner about the epochs of this run alone: ``values`` by their step."""
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
    logger.info("%s", describe_trial(step, trial, result))


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
        "%s  failed: %s (%s)",
        _name(step, trial),
        reason,
        folder / "error.txt",
    )


def _name(step: StepRun, trial: Trial) -> str:
    """Return what to call a trial that has just ended."""
    return f"{step.name} trial {trial.number} ({len(finished(step.study))} of {step.n_trials})"


def describe_trial(step: StepRun, trial: Trial, result: TrialResult) -> str:
    """Return one line about a finished trial."""
    settings = trial.user_attrs[SETTINGS]
    chosen = (
        f"{settings['model']}, head {settings['head_optimizer']} {settings['head_lr']:.2g}, "
        f"fine-tune {settings['finetune_optimizer']} {settings['finetune_lr']:.2g}, "
        f"layer {result.delimiting_layer}/{result.n_layers}"
    )
    reason = f" ({result.reason})" if result.reason else ""
    what = f"accuracy {result.val_accuracy:.4f}  {chosen}  {result.seconds:.0f} s{reason}"
    return f"{_name(step, trial)}  {what}"


def make_clock(before: float) -> Callable[[], float]:
    """Return a clock of seconds that goes on from ``before``, whatever the wall clock does."""
    started = time.monotonic()
    return lambda: before + time.monotonic() - started
