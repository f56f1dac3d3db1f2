"""Runs one trial of a step, whatever becomes of it, and tells its study."""

import copy
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.errors import UserError
from tl_hpo.files import write_text
from tl_hpo.memory import MemoryShortError
from tl_hpo.search.duplicates import settle
from tl_hpo.search.executors.base import RequeuedError, StoppedError, TrialError, WorkerDiedError
from tl_hpo.search.pruners import MAJORITY_SHARE
from tl_hpo.search.sharing import is_taken_over, kept_alive
from tl_hpo.search.sole_storage import committed_together
from tl_hpo.search.step import StepRun
from tl_hpo.search.study import CURVE, OVERRIDES, REASON, RESULT, SETTINGS, finished, wait_again
from tl_hpo.search.usual_axes import chosen_besides, short_value
from tl_hpo.search.watching import BegunTrial
from tl_hpo.training.result import EpochRecord, TrialResult

logger = logging.getLogger(__name__)

MAX_DEATHS = 3  # of the worker of one trial: then the trial has failed
HALVED = "half the batch, for lack of memory"
_CURVE_KEYS = ("phase", "epoch", "train_loss", "val_loss", "val_accuracy")


def run_trial(step: StepRun, trial: Trial, overrides: Sequence[str], worker: int = 0) -> None:
    """Train one trial, whatever becomes of it, and tell the study.

    Args:
        worker: number of the worker that waits for it.

    Raises:
        UserError: the configuration cannot work.
        StoppedError, KeyboardInterrupt: it was ended, and waits to be run again.
    """
    with kept_alive(step.study, trial):
        with step.lock:
            with committed_together(step.study):
                trial.set_user_attr(OVERRIDES, list(overrides))
                trial.set_user_attr(SETTINGS, step.runner.settings(overrides))
            step.changed()
        attempt = _Attempt(step, trial, worker)
        curve = attempt.curve
        try:
            result = _result_of(attempt, overrides)
        except (UserError, StoppedError, KeyboardInterrupt):
            _tell(step, trial, lambda: wait_again(step.study, trial))
            raise
        except Exception as error:  # whatever breaks a trial must not end the experiment
            failed = error
            _tell(step, trial, lambda: _fail(step, trial, failed, curve))
        else:
            _tell(step, trial, lambda: _finish(step, trial, result, curve))
        finally:
            step.watcher.trial_ended(worker)


@dataclass(frozen=True)
class _Attempt:
    """A trial that is run, again where it must be.

    Attributes:
        curve: rows of its epochs.

    """

    step: StepRun
    trial: Trial
    worker: int
    curve: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, overrides: Sequence[str]) -> None:
        """Begin it, or begin it anew."""
        self.curve.clear()
        settings = self.trial.user_attrs[SETTINGS] | chosen_besides(self.trial)
        begun = BegunTrial(self.step.name, self.trial.number, settings, overrides)
        self.step.watcher.trial_begun(self.worker, begun)


def _tell(step: StepRun, trial: Trial, end: Callable[[], None]) -> None:
    """End a trial, unless another process has taken this one for dead and has run it since."""
    with step.lock:
        try:
            if not is_taken_over(step.study, trial):
                with committed_together(step.study):
                    end()
                    settle(step.study)
        except UpdateFinishedTrialError:
            logger.warning("%s trial %d has been run elsewhere", step.name, trial.number)
        step.changed()


def _result_of(attempt: _Attempt, overrides: Sequence[str]) -> TrialResult:
    """Run a trial, once more with half the batch where memory is not enough.

    Raises:
        MemoryShortError: it is not enough for that either.

    """
    step, trial = attempt.step, attempt.trial
    try:
        return _run(attempt, overrides)
    except MemoryShortError as error:
        short = error
    half = step.runner.halved(overrides)
    if half is None:
        raise MemoryShortError(
            f"out of memory, and its batch cannot be halved: {short}", short.trace
        )
    fewer, batch = half
    logger.warning(
        "%s trial %d begins anew with half the batch (%s), for lack of memory: %s",
        step.name, trial.number, batch, short,
    )  # fmt: skip
    with step.lock:
        trial.set_user_attr(OVERRIDES, fewer)
    try:
        result = _run(attempt, fewer)
    except MemoryShortError as error:
        raise MemoryShortError(
            f"out of memory, also with half the batch ({batch}): {error}",
            error.trace or short.trace,
        ) from None
    return replace(result, reason="; ".join(filter(None, [result.reason, HALVED])))


def _run(attempt: _Attempt, overrides: Sequence[str]) -> TrialResult:
    """Run a trial, again where its worker dies, and note its epochs."""
    step, trial = attempt.step, attempt.trial
    folder = step.folder(trial.number)
    deaths = 0
    while True:
        attempt.begin(overrides)
        try:
            return step.executor.run(
                overrides,
                folder,
                _reporter(attempt),
                lambda result: _keeps(step, trial.number, result),
            )
        except WorkerDiedError as error:
            deaths += not isinstance(error, RequeuedError)
            if deaths == MAX_DEATHS:
                raise
            logger.warning("%s trial %d runs again: %s", step.name, trial.number, error)
            step.watcher.worker_died(attempt.worker)


def _keeps(step: StepRun, number: int, result: TrialResult) -> bool:
    with step.lock:
        return step.keep_model(number, result)


def _reporter(attempt: _Attempt) -> Callable[[EpochRecord], bool]:
    step, trial = attempt.step, attempt.trial

    def report(record: EpochRecord) -> bool:
        step.watcher.epoch_ended(attempt.worker, record)
        with step.lock:
            return note(record)

    def note(record: EpochRecord) -> bool:
        row = {key: asdict(record)[key] for key in _CURVE_KEYS}
        attempt.curve.append(row | {"elapsed_seconds": round(step.clock(), 3)})
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


def _fail(step: StepRun, trial: Trial, error: Exception, curve: list[dict[str, Any]]) -> None:
    folder = step.folder(trial.number)
    reason = _reason(error)
    trace = getattr(error, "trace", "") or traceback.format_exc()
    write_text(folder / "error.txt", trace)
    trial.set_user_attr(CURVE, curve)
    trial.set_user_attr(REASON, reason)
    step.study.tell(trial, state=TrialState.FAIL)
    logger.warning(
        "%s  failed: %s (%s)",
        _name(step, trial),
        reason,
        folder / "error.txt",
    )


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if isinstance(error, MemoryShortError):
        return lines[0]
    kind = error.kind if isinstance(error, TrialError) else type(error).__name__
    return f"{kind}: {lines[0] if lines else ''}".rstrip(": ")


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
    besides = chosen_besides(trial).items()
    chosen += "".join(f", {key} {short_value(text)}" for key, text in besides)
    reason = f" ({result.reason})" if result.reason else ""
    what = f"accuracy {result.val_accuracy:.4f}  {chosen}  {result.seconds:.0f} s{reason}"
    return f"{_name(step, trial)}  {what}"
