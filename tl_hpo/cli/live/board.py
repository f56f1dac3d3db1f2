"""What the table shows, kept up to date by what a search tells its watcher."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tl_hpo.cli.live.outline import Outline, OutlinedStep
from tl_hpo.cli.live.time_left import seconds_left
from tl_hpo.overrides import values_of
from tl_hpo.search.records import Trials
from tl_hpo.search.study import DUPLICATE_OF, SETTINGS, WAITS_FOR, result_of
from tl_hpo.search.usual_axes import chosen_besides
from tl_hpo.search.watching import BegunTrial, Watcher
from tl_hpo.training.result import EpochRecord


class State(Enum):
    """What a worker does, in the words of the table."""

    IDLE = "idle"
    STARTING = "starting"
    TRAINING = "training"
    DIED = "died, starts anew"


@dataclass(frozen=True)
class WorkerView:
    """What is known of one worker.

    Attributes:
        trial: that it runs, if any.
        record: of the trial's last epoch, if it had any.
        epochs: planned for each phase of the trial.
        since: when the trial began, by the board's clock.

    """

    state: State = State.IDLE
    trial: BegunTrial | None = None
    record: EpochRecord | None = None
    epochs: Mapping[str, int] = field(default_factory=dict)
    since: float = 0.0


@dataclass(frozen=True)
class BestView:
    """The best trial so far."""

    study: str
    number: int
    accuracy: float
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """An experiment at one moment.

    Attributes:
        step, steps: number of the current step, from 1, and how many there are; 0 before the first.
        done, trials: of the current step.
        elapsed: seconds that the experiment has run for.
        left: seconds that it has left, about; None: nothing can be said.
        running: seconds that the trial of every worker has run for.

    """

    name: str
    step: int
    steps: int
    step_name: str
    done: int
    trials: int
    elapsed: float
    left: float | None
    best: BestView | None
    workers: tuple[WorkerView, ...]
    running: tuple[float, ...]


@dataclass(frozen=True)
class _Known:
    """What the studies knew when they were last asked.

    Attributes:
        finished, running: trials, by study.
        mean: seconds of a trial.

    """

    finished: Mapping[str, int] = field(default_factory=dict)
    running: Mapping[str, int] = field(default_factory=dict)
    mean: float | None = None
    best: BestView | None = None


class Board(Watcher):
    """A watcher that remembers; any thread may ask it for a `view`.

    Args:
        outline: of the experiment.
        workers: trials at once.
        changed: called after every event.
        clock: seconds of any origin.

    """

    def __init__(
        self,
        outline: Outline,
        workers: int,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outline = outline
        self._workers = [WorkerView()] * workers
        self._changed = changed
        self._clock = clock
        self._lock = threading.Lock()
        self._steps = list(outline.steps)
        self._current: int | None = None
        self._known = _Known()
        self._origin = clock()  # when the experiment would have begun, had it not been interrupted

    # What it is told

    def step_begun(self, study: str, n_trials: int) -> None:
        """Turn to the step of a study; one of several studies does not tell its step's trials."""
        with self._lock:
            for index, step in enumerate(self._steps):
                if study in step.studies:
                    self._current = index
                if study == step.name:
                    self._steps[index] = replace(step, trials=n_trials)
        self._changed()

    def trial_begun(self, worker: int, trial: BegunTrial) -> None:
        """Show a trial that starts, or starts anew."""
        epochs = _planned_epochs(self._outline.epochs, trial.overrides)
        with self._lock:
            died = self._workers[worker].state is State.DIED
            state = State.DIED if died else State.STARTING
            now = self._clock()
            self._workers[worker] = WorkerView(state, trial, epochs=epochs, since=now)
        self._changed()

    def epoch_ended(self, worker: int, record: EpochRecord) -> None:
        """Show a trial that trains."""
        with self._lock:
            before = self._workers[worker]
            self._workers[worker] = replace(before, state=State.TRAINING, record=record)
        self._changed()

    def worker_died(self, worker: int) -> None:
        """Show that it died until its trial trains again."""
        with self._lock:
            self._workers[worker] = replace(self._workers[worker], state=State.DIED)
        self._changed()

    def trial_ended(self, worker: int) -> None:
        """Show that a worker is free."""
        with self._lock:
            self._workers[worker] = WorkerView()
        self._changed()

    def recorded(
        self, trials: Trials, best: tuple[str, FrozenTrial] | None, seconds: float
    ) -> None:
        """Keep what the studies know."""
        known = _known(trials, best)
        with self._lock:
            self._known = known
            self._origin = self._clock() - seconds
        self._changed()

    # What it tells

    def view(self) -> View:
        """Return the experiment at this moment."""
        with self._lock:
            now, current, workers = self._clock(), self._current, tuple(self._workers)
            step = self._steps[current] if current is not None else None
            running = tuple(now - each.since if each.trial else 0.0 for each in workers)
            return View(
                name=self._outline.name,
                step=0 if current is None else current + 1,
                steps=len(self._steps),
                step_name=step.name if step else "",
                done=_count(self._known.finished, step),
                trials=step.trials if step else 0,
                elapsed=now - self._origin,
                left=self._left(now, workers) if step else None,
                best=self._known.best,
                workers=workers,
                running=running,
            )

    def _left(self, now: float, workers: Sequence[WorkerView]) -> float | None:
        assert self._current is not None
        step, limit = self._steps[self._current], self._outline.limit
        own = [now - each.since for each in workers if each.trial]
        # Those of other processes: nobody knows here when they began.
        others = max(_count(self._known.running, step) - len(own), 0)
        unbegun = step.trials - _count(self._known.finished, step) - len(own) - others
        return seconds_left(
            self._known.mean,
            max(unbegun, 0),
            own,
            [each.trials for each in self._steps[self._current + 1 :]],
            len(workers) + others,
            None if limit is None else limit - (now - self._origin),
        )


def _count(numbers: Mapping[str, int], step: OutlinedStep | None) -> int:
    return sum(numbers.get(study, 0) for study in step.studies) if step else 0


def _planned_epochs(usual: Mapping[str, int], overrides: Sequence[str]) -> dict[str, int]:
    """Return the epochs of each phase of a trial with these overrides."""
    values = values_of(overrides)
    said = {phase: values.get(f"{phase}.epochs", "") for phase in usual}
    return {phase: int(said[phase]) if said[phase].isdigit() else usual[phase] for phase in usual}


def _known(trials: Trials, best: tuple[str, FrozenTrial] | None) -> _Known:
    own = {name: [t for t in of_study if _is_one(t)] for name, of_study in trials.items()}
    over = {name: [t for t in of_study if t.state.is_finished()] for name, of_study in own.items()}
    seconds = [result_of(t).get("seconds") for of_study in over.values() for t in of_study]
    taken = [float(value) for value in seconds if value is not None]
    return _Known(
        finished={name: len(of_study) for name, of_study in over.items()},
        running={
            name: sum(t.state == TrialState.RUNNING for t in of_study)
            for name, of_study in own.items()
        },
        mean=sum(taken) / len(taken) if taken else None,
        best=_best(*best) if best else None,
    )


def _is_one(trial: FrozenTrial) -> bool:
    """Tell whether a trial is run, and does not only get the score of another."""
    told = trial.user_attrs
    return DUPLICATE_OF not in told and told.get(WAITS_FOR) is None


def _best(study: str, trial: FrozenTrial) -> BestView:
    result = result_of(trial)
    settings = trial.user_attrs[SETTINGS] | {"delimiting_layer": result["delimiting_layer"]}
    settings |= chosen_besides(trial)
    return BestView(study, trial.number, result["val_accuracy"], settings)
