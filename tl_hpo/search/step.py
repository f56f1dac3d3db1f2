"""What a step of an experiment needs to run."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from tl_hpo.search.endings import Ending
from tl_hpo.search.executors.base import Executor
from tl_hpo.search.limits import Limits
from tl_hpo.search.runner import Runner
from tl_hpo.search.space import SearchSpace
from tl_hpo.search.watching import UNWATCHED, Watcher
from tl_hpo.training.result import TrialResult


@dataclass(frozen=True)
class StepRun:
    """What a step needs to run.

    Attributes:
        overrides: what all its trials share.
        chosen: of these, what the step itself decided.
        runner: describes the trials.
        executor: runs them.
        lock: held while study, sampler or run folder are touched.
        folder: of a trial, by its number.
        clock: seconds since the start of the experiment.
        keep_model: tells of a trial's number and result whether its model is the best so far.
        changed: called when a trial has begun or ended.
        limits: what ends a search before its trials are done.
        improvement: the largest improvement to be expected of the next trial; None: not asked for.
        seed: of what is drawn at random where the sampler goes in circles.
        others: studies of the search, not of this step, whose scores its trials may be told.
        listed: overrides by number where a step has a list of trials, not a search space.
        ended: called when the step ends before it has all its trials.
        watcher: told what becomes of its trials.
    """

    name: str
    n_trials: int
    study: optuna.Study
    space: SearchSpace
    overrides: Sequence[str]
    runner: Runner
    executor: Executor
    lock: threading.RLock
    folder: Callable[[int], Path]
    clock: Callable[[], float]
    keep_model: Callable[[int, TrialResult], bool]
    changed: Callable[[], None]
    chosen: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    improvement: Callable[[optuna.Study], float | None] | None = None
    seed: int = 0
    others: Callable[[], Sequence[optuna.Study]] = tuple
    listed: Callable[[int], Sequence[str]] | None = None
    ended: Callable[[Ending], None] = lambda _: None
    watcher: Watcher = UNWATCHED


def make_clock(before: float) -> Callable[[], float]:
    """Return a clock of seconds that goes on from ``before``, whatever the wall clock does."""
    started = time.monotonic()
    return lambda: before + time.monotonic() - started
