"""An experiment: one strategy on one dataset, in one run folder, resumable at any moment."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from tl_hpo.overrides import merged, override
from tl_hpo.search.backup import back_up
from tl_hpo.search.best import BEST_FILE, drop_models, promote
from tl_hpo.search.crew import run_steps
from tl_hpo.search.endings import Ending, Endings
from tl_hpo.search.executors.base import Executor, Inline
from tl_hpo.search.halving import schedule
from tl_hpo.search.known_images import known_images
from tl_hpo.search.limits import Limits
from tl_hpo.search.opening import expected_improvement, open_step
from tl_hpo.search.pacing import Paced
from tl_hpo.search.plan import Plan
from tl_hpo.search.records import Trials, last_elapsed, write_curves, write_trials
from tl_hpo.search.repeating import Repeating
from tl_hpo.search.results import any_result, best_among, rank_after
from tl_hpo.search.runner import Runner
from tl_hpo.search.samplers import ask_seed
from tl_hpo.search.sharing import written_alone
from tl_hpo.search.space import SearchSpace, is_fixed, parse_space
from tl_hpo.search.step import StepRun, make_clock
from tl_hpo.search.stored import stored_overrides
from tl_hpo.search.strategy import Step
from tl_hpo.search.study import (
    OVERRIDES,
    POINT,
    REASON,
    REPEATS,
    RESULT,
    STUDY_FILE,
    finished,
    open_storage,
    rank,
    rank_of,
    running,
    stored_trials,
)
from tl_hpo.search.warm_file import WARM_FILE, read_known_images, write_warm_start
from tl_hpo.search.watching import UNWATCHED, Watcher
from tl_hpo.training.result import HEAD_FILE, TrialResult

__all__ = ["BEST_FILE", "Experiment", "Plan"]

logger = logging.getLogger(__name__)

RECORDING = 0.03  # of the time that bringing the files up to date may take while trials run


class Experiment:
    """Runs the steps of a strategy, each starting from the best of those before.

    Everything that is finished lies in the storage; a repeated run goes on from there.

    Args:
        runner: describes the trials.
        executor: runs them; by default the runner does, one after another.
        storage: of the studies; by default ``study.db`` in the run folder.
        watcher: told what happens.

    Attributes:
        studies: of the search, by name, in the order of their steps; a step has one, or one for
            every choice of its axis ``each``.
        storage: of all its studies.
        repeating: the best configurations that are trained again.
        endings: why steps ended early.
    """

    def __init__(
        self,
        plan: Plan,
        runner: Runner,
        storage: BaseStorage | None = None,
        executor: Executor | None = None,
        watcher: Watcher = UNWATCHED,
    ) -> None:
        self.plan = plan
        self.runner = runner
        self.executor = executor or Inline(runner)
        self.watcher = watcher
        self.studies: dict[str, optuna.Study] = {}
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._database = None if storage else plan.folder / STUDY_FILE
        self.storage = storage or open_storage(plan.folder / STUDY_FILE)
        self.repeating = Repeating(plan, self.storage)
        self._lock = threading.RLock()
        self._changed = Paced(self.record, self._lock, RECORDING)
        stored = self._stored_trials()
        self._clock = make_clock(last_elapsed(stored))
        self.endings = Endings(plan.folder, self.storage)
        begun = any_result(stored)
        self._keep_warm_start(begun=begun)
        if not begun:
            self.endings.clear()

    def run(self) -> FrozenTrial:
        """Run what is left to do and return the best trial.

        Raises:
            RuntimeError: every trial of a step failed.
            UserError: a trial's configuration cannot work.
        """
        self._warn_of_known_images()
        try:
            self._run_steps()
            self._repeat()
        finally:
            self._changed.now()
        best = self.best()
        assert best is not None  # a step without any result has raised
        return best[1]

    def _run_steps(self) -> None:
        for index, step in enumerate(self.plan.strategy.steps):
            self.endings.forget(step.name)
            if self.studies and self._time_is_up() and not self._is_in_storage(step):
                self._skip(step, self.plan.limits.out_of_time())
            elif step.each and not is_fixed(step.each, self.plan.fixed):
                self._run_each(index, step)
            else:
                self._run_one(index, step)

    def _skip(self, step: Step, reason: str) -> None:
        ending = Ending(step.name, reason)
        logger.info("%s", ending.sentence())
        self.endings.note(ending)

    # What it learns from earlier experiments

    def _keep_warm_start(self, *, begun: bool) -> None:
        """Keep what is brought along, before the first trial; with results it stays as it is."""
        path = self.plan.folder / WARM_FILE
        if begun and path.exists():
            return
        if self.plan.warm_start:
            known = known_images(self.plan.folder, self.plan.warm_folders)
            write_warm_start(path, self.plan.warm_start, known)
        else:
            path.unlink(missing_ok=True)

    def _warn_of_known_images(self) -> None:
        warning = read_known_images(self.plan.folder / WARM_FILE).warning()
        if warning:
            logger.warning("Warning: %s", warning)

    # Steps

    def _run_one(self, index: int, step: Step) -> None:
        space = self._space(step)
        n_trials = step.trials if space.dimensions else 1
        if not space.dimensions and self._repeats_what_it_inherits(step):
            self._skip(step, "all that it searches is held fixed")
            return
        seed = ask_seed(self.plan.seed, index)
        run = self._step_run(step, step.name, space, n_trials, seed)
        self._tell_beginning(run)
        run_steps([run], self.executor)
        self._check_results(step, [run.study])

    def _run_each(self, index: int, step: Step) -> None:
        """Run a study for every choice of an axis; drop the worse half again and again."""
        arms = self._arms(index, step)
        for each in schedule(step.trials, len(arms)):
            arms, dropped = arms[: each.arms], arms[each.arms :]
            for arm in dropped:
                logger.info("Step %s goes on without %s", step.name, arm.name)
            runs = [replace(arm, n_trials=each.trials) for arm in arms]
            for run in runs:
                self._tell_beginning(run)
            run_steps(runs, self.executor)
            arms = sorted(arms, key=lambda arm: rank_after(arm.study, each.trials), reverse=True)
        self._check_results(step, [self.studies[n] for n in step.studies() if n in self.studies])

    def _arms(self, index: int, step: Step) -> list[StepRun]:
        """Return the studies that share the trials of a step, in the order of the choices."""
        assert step.each is not None
        axis = parse_space({step.each: step.space[step.each]}, models=self.plan.models)
        arms = []
        for number, choice in enumerate(step.space[step.each]["choices"]):
            chosen = axis.overrides({step.each: choice})
            space = self._space(step, chosen, {step.each: choice})
            seed = ask_seed(ask_seed(self.plan.seed, index), number)
            arms.append(
                self._step_run(step, step.study_of(choice), space, step.trials, seed, chosen)
            )
        return arms

    def _step_run(
        self,
        step: Step,
        name: str,
        space: SearchSpace,
        n_trials: int,
        seed: int,
        chosen: Sequence[str] = (),
    ) -> StepRun:
        seed //= 2  # samplers add a trial's number, and numpy's seeds end at 2^32
        overrides = merged(self._shared_overrides(step), chosen)
        study = open_step(self.plan, self.storage, name, space, n_trials, seed, overrides)
        self.studies[name] = study
        return StepRun(
            name=name,
            n_trials=n_trials,
            study=study,
            space=space,
            overrides=overrides,
            chosen=chosen,
            runner=self.runner,
            executor=self.executor,
            lock=self._lock,
            folder=lambda number: self.trial_folder(name, number),
            clock=self._clock,
            keep_model=lambda number, result: self._beats_the_best(name, number, result),
            changed=self._changed,
            limits=replace(self.plan.limits, begun=self._has_begun),
            improvement=expected_improvement(self.plan, space, seed),
            seed=seed,
            others=lambda: self._others(step),
            ended=self.endings.note,
            watcher=self.watcher,
        )

    def _others(self, step: Step) -> list[optuna.Study]:
        """Return the studies of other steps whose scores may be told in a step.

        A step that later ones build on trains its best itself: they need its trial.
        """
        sources = {n for s in self.plan.strategy.steps for n in (s.inherits, s.head_from)}
        own = step.studies()
        return [] if step.name in sources else [s for n, s in self.studies.items() if n not in own]

    def _tell_beginning(self, run: StepRun) -> None:
        self.endings.forget(run.name)
        self.watcher.step_begun(run.name, run.n_trials)
        done = len(finished(run.study))
        already = f", {done} of them done before" if done else ""
        trials = "1 trial" if run.n_trials == 1 else f"{run.n_trials} trials"
        logger.info("Step %s: %s%s", run.name, trials, already)

    def _check_results(self, step: Step, studies: Sequence[optuna.Study]) -> None:
        trials = [trial for study in studies for trial in finished(study)]
        if trials and not any(trial.user_attrs.get(RESULT) for trial in trials):
            reason = trials[-1].user_attrs.get(REASON, "")
            raise RuntimeError(
                f"every trial of step {step.name} failed, the last one with: {reason}"
            )

    def _time_is_up(self) -> bool:
        return self.plan.limits.is_over(self._clock())

    def _is_in_storage(self, step: Step) -> bool:
        """Tell whether an earlier run has opened the step: then its results count, time or not."""
        return not set(step.studies()).isdisjoint(optuna.get_all_study_names(self.storage))

    def _has_begun(self) -> bool:
        """Tell whether any trial of this run's studies has been begun or is over."""
        return any(finished(study) or running(study) for study in self.studies.values())

    def _repeats_what_it_inherits(self, step: Step) -> bool:
        """Tell whether a trial of ``step``, which searches nothing, has been run before."""
        best = self._best_in(step.inherits) if step.inherits else None
        if best is None:
            return False
        return set(self._shared_overrides(step)) == set(best[1].user_attrs[OVERRIDES])

    def _repeat(self) -> None:
        """Train the best configurations again, each with seeds of its own."""
        study = self.repeating.open()
        if study is None:
            return
        run = StepRun(
            name=REPEATS,
            n_trials=self.repeating.n_trials(),
            study=study,
            space=SearchSpace(()),
            overrides=(),
            runner=self.runner,
            executor=self.executor,
            lock=self._lock,
            folder=lambda number: self.trial_folder(REPEATS, number),
            clock=self._clock,
            keep_model=lambda number, result: True,
            changed=self._changed,
            limits=Limits(self.plan.limits.max_hours),
            listed=self.repeating.overrides,
            ended=self.endings.note,
            watcher=self.watcher,
        )
        self._tell_beginning(run)
        run_steps([run], self.executor)

    # What a step's trials share

    def _space(
        self, step: Step, chosen: Sequence[str] = (), decided: Mapping[str, Any] | None = None
    ) -> SearchSpace:
        shared = merged(self._shared_overrides(step), chosen)
        return parse_space(
            step.space,
            fixed=self.plan.fixed,
            given=shared,
            decided=decided,
            models=self.plan.models,
            count_layers=lambda: self.runner.count_layers(shared),
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
        best = self._best_in(source.name)
        # A skipped step added nothing.
        own = stored_overrides(best[1], POINT, self.plan) if best else []
        return merged(self._inherited(source), own)

    def _head_overrides(self, step: Step) -> list[str]:
        best = self._best_in(step.head_from) if step.head_from else None
        if best is None:
            return []
        path = self.trial_folder(best[0], best[1].number) / HEAD_FILE
        return ["head.epochs=0", override("head.weights", path)]

    # Results

    def _best_in(self, step_name: str) -> tuple[str, FrozenTrial] | None:
        """Return study and trial of the best result of a step, None if it has been skipped."""
        step = next(s for s in self.plan.strategy.steps if s.name == step_name)
        return best_among({n: s for n, s in self.studies.items() if n in step.studies()})

    def best(self) -> tuple[str, FrozenTrial] | None:
        """Return study and trial of the best result so far, the earliest among equals.

        Once the best configurations have been repeated, it is the best training of the one that
        they chose.
        """
        chosen = self.repeating.chosen()
        return (REPEATS, chosen.best()) if chosen else best_among(self.studies)

    def _overtaken(self, trials: Trials, *, chosen: bool) -> set[str]:
        """Return the folders of finished trials, those of repeats once there is a choice."""
        return {
            self.trial_folder(name, trial.number).name
            for name, own in trials.items()
            if name != REPEATS or chosen
            for trial in own
            if trial.state.is_finished()
        }

    def trial_folder(self, study: str, number: int) -> Path:
        """Return the folder of one trial."""
        return self.plan.folder / "trials" / f"{study}-{number}"

    def _beats_the_best(self, study: str, number: int, result: TrialResult) -> bool:
        """Tell whether a trial that has ended, but is not told yet, is the best so far."""
        best = self.best()
        if best is None:
            return True
        own, other = rank(result.state, result.objective), rank_of(best[1])
        # Others may have overtaken it: among equals, the best is the one that began first.
        return own > other or (own == other and self._order(study, number) < self._order(*best))

    def _order(self, study: str, trial: int | FrozenTrial) -> tuple[int, int]:
        number = trial if isinstance(trial, int) else trial.number
        return list(self.studies).index(study), number

    def _stored_trials(self) -> dict[str, list[FrozenTrial]]:
        return stored_trials(self.storage, [*self.plan.strategy.studies(), REPEATS])

    def record(self) -> None:
        """Bring the files of the run folder up to date with the storage."""
        with written_alone(self.storage, self.plan.folder):
            self._record()

    def _record(self) -> None:
        folder, trials = self.plan.folder, self._stored_trials()
        if self._database is not None:
            back_up(self._database)
        write_trials(folder / "trials.csv", trials)
        write_curves(folder / "curves.csv", trials)
        self.repeating.write(folder / "repeats.csv")
        best = self.best()
        self.watcher.recorded(trials, best, self._clock())
        if best is not None:
            name, trial = best
            model = self.trial_folder(name, trial.number)
            about = {"strategy": self.plan.strategy.name, "step": name}
            promote(folder, model, trial, about, self._clock())
            drop_models(folder / "trials", self._overtaken(trials, chosen=name == REPEATS))
