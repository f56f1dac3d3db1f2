"""The study in which the best configurations of an experiment are trained again."""

from pathlib import Path

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage

from tl_hpo.search.plan import Plan
from tl_hpo.search.records import write_repeats
from tl_hpo.search.repeats import (
    Candidate,
    Repeated,
    candidates,
    chosen_of,
    repeat_overrides,
    repeated,
)
from tl_hpo.search.stored import stored_overrides
from tl_hpo.search.study import OVERRIDES, REPEATS, open_study, stored_trials


class Repeating:
    """Knows what to train again, and what came of it, from the storage alone.

    Args:
        plan: of the experiment.
        storage: of its studies.

    """

    def __init__(self, plan: Plan, storage: BaseStorage) -> None:
        self._plan = plan
        self._storage = storage

    def open(self) -> optuna.Study | None:
        """Return the study of the repeats, which goes on where it was; None: there are none."""
        if not self.n_trials():
            return None
        sampler = RandomSampler(seed=0)  # has nothing to draw
        return open_study(self._storage, REPEATS, sampler, NopPruner())

    def n_trials(self) -> int:
        """Return the number of trainings, of all configurations together."""
        times = self._plan.repeats.times
        return times * len(self._candidates()) if times else 0

    def overrides(self, number: int) -> list[str]:
        """Return the overrides of training ``number``."""
        index, time = divmod(number, self._plan.repeats.times)
        seed = self._plan.seed + 1 + time
        found = stored_overrides(self._candidates()[index].trial, OVERRIDES, self._plan)
        return repeat_overrides(found, self._plan.repeats.held, seed)

    def chosen(self) -> Repeated | None:
        """Return the configuration that the repeats chose; None before the last of them."""
        results = self._results()
        done = sum(len(each.trials) for each in results)
        return chosen_of(results) if results and done == self.n_trials() else None

    def write(self, path: Path) -> None:
        """Write repeats.csv, if there is anything to tell."""
        results = self._results()
        if results:
            write_repeats(path, results, self._plan.seed, self._plan.repeats.times)

    def _candidates(self) -> list[Candidate]:
        searched = stored_trials(self._storage, self._plan.strategy.studies())
        return candidates(searched, self._plan.repeats.best)

    def _results(self) -> list[Repeated]:
        times = self._plan.repeats.times
        trials = stored_trials(self._storage, [REPEATS]).get(REPEATS, []) if times else []
        own = [trial for trial in trials if trial.state.is_finished()]
        return repeated(self._candidates(), own, times) if own else []
