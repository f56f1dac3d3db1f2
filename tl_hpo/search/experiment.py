"""An experiment: one strategy on one dataset, in one run folder, resumable at any moment."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from tl_hpo.files import write_json
from tl_hpo.overrides import merged, override
from tl_hpo.search.pruners import make_pruner
from tl_hpo.search.records import last_elapsed, write_curves, write_trials
from tl_hpo.search.runner import Runner
from tl_hpo.search.samplers import ask_seed, make_sampler
from tl_hpo.search.space import SearchSpace, parse_space
from tl_hpo.search.step import StepRun, make_clock, run_step
from tl_hpo.search.strategy import Step, Strategy
from tl_hpo.search.study import (
    OVERRIDES,
    RESULT,
    best_of,
    finished,
    open_storage,
    open_study,
    rank,
    rank_of,
    result_of,
)
from tl_hpo.training.result import HEAD_FILE, METRICS_FILE, MODEL_FOLDER, TrialResult

logger = logging.getLogger(__name__)

BEST_FILE = "best.json"
BEST_MODEL = "best_model"


@dataclass(frozen=True)
class Plan:
    """What an experiment is to do.

    Attributes:
        folder: the run folder.
        strategy: its steps.
        overrides: of train.py, shared by all trials.
        fixed: keys that the command line holds fixed.
        models: names of the model configs.
        sampler: config of the sampler.
        pruner: config of the pruner.
        seed: of the search.
    """

    folder: Path
    strategy: Strategy
    overrides: Sequence[str]
    fixed: Sequence[str]
    models: Sequence[str]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    seed: int


class Experiment:
    """Runs the steps of a strategy, each starting from the best of those before.

    Everything that is finished lies in the storage; a repeated run goes on from there.

    Args:
        storage: of the studies; by default ``study.db`` in the run folder.
    """

    def __init__(self, plan: Plan, runner: Runner, storage: BaseStorage | None = None) -> None:
        self.plan = plan
        self.runner = runner
        self.studies: dict[str, optuna.Study] = {}
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._storage = storage or open_storage(plan.folder / "study.db")
        self._clock = make_clock(last_elapsed(self._stored_trials()))

    def run(self) -> FrozenTrial:
        """Run what is left to do and return the best trial."""
        for index, step in enumerate(self.plan.strategy.steps):
            space = self._space(step)
            n_trials = step.trials if space.dimensions else 1
            if not space.dimensions and self._repeats_what_it_inherits(step):
                logger.info("Step %s is skipped: all that it searches is held fixed", step.name)
                continue
            self._run_step(index, step, space, n_trials)
        self.record()
        best = self.best()
        assert best is not None  # a step without any result has raised
        return best[1]

    def _run_step(self, index: int, step: Step, space: SearchSpace, n_trials: int) -> None:
        # Half of the range: samplers add a trial's number, and numpy's seeds end at 2^32.
        seed = ask_seed(self.plan.seed, index) // 2
        sampler = make_sampler(
            self.plan.sampler,
            space.distributions,
            seed,
            n_trials=n_trials,
            conditions=space.conditions,
        )
        study = open_study(self._storage, step.name, sampler, make_pruner(self.plan.pruner))
        self.studies[step.name] = study
        done = len(finished(study))
        already = f", {done} of them done before" if done else ""
        trials = "1 trial" if n_trials == 1 else f"{n_trials} trials"
        logger.info("Step %s: %s%s", step.name, trials, already)
        run_step(
            StepRun(
                name=step.name,
                n_trials=n_trials,
                study=study,
                space=space,
                overrides=self._shared_overrides(step),
                runner=self.runner,
                folder=lambda number: self.trial_folder(step.name, number),
                clock=self._clock,
                keep_model=self._beats_the_best,
                changed=self.record,
            )
        )

    def _repeats_what_it_inherits(self, step: Step) -> bool:
        """Tell whether a trial of ``step``, which searches nothing, has been run before."""
        if step.inherits not in self.studies:
            return False
        best = self._best_in(step.inherits)
        return set(self._shared_overrides(step)) == set(best.user_attrs[OVERRIDES])

    def _space(self, step: Step) -> SearchSpace:
        return parse_space(
            step.space,
            fixed=self.plan.fixed,
            models=self.plan.models,
            count_layers=lambda: self.runner.count_layers(self._shared_overrides(step)),
        )

    def _shared_overrides(self, step: Step) -> list[str]:
        """Return what all trials of a step share: base, inherited, the block to start from."""
        return merged(
            self.plan.overrides,
            self._inherited(step),
            self._head_overrides(step),
            [override(key, value) for key, value in step.overrides.items()],
        )

    def _inherited(self, step: Step) -> list[str]:
        if step.inherits is None:
            return []
        source = next(s for s in self.plan.strategy.steps if s.name == step.inherits)
        if source.name not in self.studies:  # skipped: it added nothing
            return self._inherited(source)
        best = self._best_in(source.name)
        return merged(self._inherited(source), self._space(source).overrides(best.params))

    def _head_overrides(self, step: Step) -> list[str]:
        if step.head_from is None or step.head_from not in self.studies:
            return []
        best = self._best_in(step.head_from)
        path = self.trial_folder(step.head_from, best.number) / HEAD_FILE
        return ["head.epochs=0", override("head.weights", path)]

    def _best_in(self, step: str) -> FrozenTrial:
        best = best_of(finished(self.studies[step]))
        assert best is not None  # a step without any result has raised
        return best

    def best(self) -> tuple[str, FrozenTrial] | None:
        """Return step and trial of the best result so far, the earliest among equals."""
        found = [(name, best_of(finished(study))) for name, study in self.studies.items()]
        judged = [(name, trial) for name, trial in found if trial is not None]
        return max(judged, key=lambda each: rank_of(each[1]), default=None)

    def trial_folder(self, step: str, number: int) -> Path:
        """Return the folder of one trial."""
        return self.plan.folder / "trials" / f"{step}-{number}"

    def _beats_the_best(self, result: TrialResult) -> bool:
        best = self.best()
        return best is None or rank(result.state, result.objective) > rank_of(best[1])

    def _stored_trials(self) -> dict[str, list[FrozenTrial]]:
        names = [step.name for step in self.plan.strategy.steps]
        begun = set(optuna.get_all_study_names(self._storage))
        return {
            name: optuna.load_study(study_name=name, storage=self._storage).trials
            for name in names
            if name in begun
        }

    def record(self) -> None:
        """Bring the files of the run folder up to date with the storage."""
        folder, trials = self.plan.folder, self._stored_trials()
        write_trials(folder / "trials.csv", trials)
        write_curves(folder / "curves.csv", trials)
        best = self.best()
        if best is not None:
            self._promote(*best)

    def _promote(self, step: str, trial: FrozenTrial) -> None:
        """Make the best trial's model the best model, then say so in best.json.

        The model is moved, so wherever the last run was cut off, either the trial's folder still
        holds it or ``best_model`` is it.
        """
        folder = self.plan.folder
        model = self.trial_folder(step, trial.number) / MODEL_FOLDER
        if model.is_dir():
            shutil.rmtree(folder / BEST_MODEL, ignore_errors=True)
            model.rename(folder / BEST_MODEL)
        result = result_of(trial)
        write_json(
            folder / BEST_FILE,
            {
                "strategy": self.plan.strategy.name,
                "step": step,
                "number": trial.number,
                "overrides": trial.user_attrs[OVERRIDES],
                **{key: result[key] for key in ("val_accuracy", "validation")},
                "test": _tested(folder / BEST_MODEL),
                "seconds": round(self._clock(), 3),
            },
        )


def _tested(model: Path) -> dict[str, float] | None:
    """Return what the model in a folder came to on the test side, if it has been measured."""
    path = model / METRICS_FILE
    return json.loads(path.read_text(encoding="utf-8")).get("test") if path.exists() else None


def has_results(folder: Path, strategy: Strategy) -> bool:
    """Tell whether a run folder holds any finished trial of the strategy."""
    path = folder / "study.db"
    if not path.exists():
        return False
    storage = open_storage(path)
    begun = set(optuna.get_all_study_names(storage))
    return any(
        trial.user_attrs.get(RESULT)
        for step in strategy.steps
        if step.name in begun
        for trial in optuna.load_study(study_name=step.name, storage=storage).trials
    )
