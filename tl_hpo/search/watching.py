"""What a search tells whoever watches it, so that search itself draws nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from tl_hpo.search.records import Trials
from tl_hpo.training.result import EpochRecord


@dataclass(frozen=True)
class BegunTrial:
    """A trial that a worker has begun.

    Attributes:
        study: name of its study.
        number: in its study.
        settings: model, optimizers, learning rates and delimiting layer; what its step searches
            besides, by keys of overrides.
        overrides: of train.py.

    """

    study: str
    number: int
    settings: Mapping[str, Any]
    overrides: Sequence[str]


class Watcher:
    """Is told what happens, in whichever thread it happens; workers are numbered from 0.

    It must return at once, and must not raise. By itself it does nothing.
    """

    def step_begun(self, study: str, n_trials: int) -> None:
        """Tell that trials of a study are to be run until it has ``n_trials``."""

    def trial_begun(self, worker: int, trial: BegunTrial) -> None:
        """Tell that a worker begins a trial, or begins it anew."""

    def epoch_ended(self, worker: int, record: EpochRecord) -> None:
        """Tell that an epoch of the worker's trial is over."""

    def worker_died(self, worker: int) -> None:
        """Tell that what ran the worker's trial is gone; the trial begins anew elsewhere."""

    def trial_ended(self, worker: int) -> None:
        """Tell that the worker has no trial any more."""

    def recorded(
        self, trials: Trials, best: tuple[str, FrozenTrial] | None, seconds: float
    ) -> None:
        """Tell all that the studies know.

        Args:
            trials: by the names of their studies, those that other processes run among them; not
                to be changed.
            best: study and trial of the best result so far.
            seconds: that the experiment has run for.

        """


UNWATCHED = Watcher()
