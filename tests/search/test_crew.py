"""Several workers on one experiment: nothing twice, nothing lost, with one as without."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from simulated import HEAD_EPOCHS, LAYERS, SimulatedRunner, parsed

from tl_hpo.config import group_options
from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.search.executors.base import StoppedError, WorkerDiedError
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.study import DUPLICATE_OF, IDENTITY
from tl_hpo.training.result import TrialResult

PATIENCE_SECONDS = 30


class Threads:
    """Runs trials in the threads that ask for it.

    Args:
        runner: of the trials.
        workers: trials at the same time.
        before: called with a trial's number in its study before it runs.
    """

    def __init__(
        self,
        runner: SimulatedRunner,
        workers: int,
        before: Callable[[int, Sequence[str]], None] = lambda number, overrides: None,
    ) -> None:
        self.workers = workers
        self.most = 0
        self.stopped = threading.Event()
        self._runner, self._before = runner, before
        self._at_work = 0
        self._lock = threading.Lock()

    def run(self, overrides: Sequence[str], folder: Path, *others: Any) -> TrialResult:
        with self._lock:
            self._at_work += 1
            self.most = max(self.most, self._at_work)
        try:
            self._before(int(folder.name.rpartition("-")[2]), overrides)
            if self.stopped.is_set():
                raise StoppedError
            return self._runner.run(overrides, folder, *others)
        finally:
            with self._lock:
                self._at_work -= 1

    def stop(self) -> None:
        self.stopped.set()

    kill = close = stop


def experiment(plan, runner, executor=None):
    found = Experiment(plan, runner, InMemoryStorage(), executor)  # storages have their own tests
    found.run()
    return found


def trials_of(experiment):
    return {name: study.get_trials() for name, study in experiment.studies.items()}


def overtaken():
    """Return what lets the first trial go on when another one has begun."""
    other = threading.Event()

    def before(number, overrides):
        if number:
            other.set()
        other.wait(PATIENCE_SECONDS)

    return before


@pytest.mark.parametrize("sampler", group_options("sampler"))
def test_with_one_worker_the_trials_are_those_of_a_loop(plan, tmp_path, sampler):
    p = plan(f"sampler={sampler}", "search.n_trials=7", "search.layer_trials=4")
    alone = experiment(p, SimulatedRunner())
    runner = SimulatedRunner()
    other = experiment(replace(p, folder=tmp_path / "other"), runner, Threads(runner, 1))
    for name, trials in trials_of(alone).items():
        crew = trials_of(other)[name]
        assert [(t.params, t.value, t.state) for t in crew] == [
            (t.params, t.value, t.state) for t in trials
        ]


@pytest.mark.parametrize("strategy", group_options("strategy"))
def test_as_many_trials_as_asked_none_twice_and_the_best_model_is_the_best(plan, strategy):
    p, runner = plan(f"strategy={strategy}"), SimulatedRunner()
    executor = Threads(runner, 4, lambda number, overrides: time.sleep(0.002 * (number % 3)))
    found = experiment(p, runner, executor)
    asked = sum(step.trials for step in p.strategy.steps)
    rows = read_csv(p.folder / "trials.csv")
    assert len(rows) == len(runner.asked) == asked
    assert executor.most > 1
    for trials in trials_of(found).values():
        own = [str(t.user_attrs[IDENTITY]) for t in trials if DUPLICATE_OF not in t.user_attrs]
        assert len(set(own)) == len(own)
        assert all(trial.state.is_finished() for trial in trials)
    best = json.loads((p.folder / "best.json").read_text())
    score = max(runner.score(overrides) for overrides in runner.asked)
    assert best["val_accuracy"] == runner.score(best["overrides"]) == score
    assert (p.folder / "best_model" / "model.safetensors").read_text() == str(score)
    assert not list((p.folder / "trials").glob("*/model"))  # of those that were overtaken


def test_running_trials_count_where_the_next_are_proposed(plan):
    p, runner = (
        plan("sampler=gpyopt", "search.n_trials=10", "sampler.n_initial=2"),
        SimulatedRunner(),
    )
    begun: list[dict[str, str]] = []
    barrier = threading.Barrier(4)

    def before(number, overrides):
        if (
            2 <= number < 6 and len(begun) < 4
        ):  # the first that the model proposes, all before any of them ends
            begun.append(parsed(overrides))
            barrier.wait(PATIENCE_SECONDS)

    experiment(p, runner, Threads(runner, 4, before))
    points = {(each["model"], each["optimizer"], each["optimizer.lr"]) for each in begun}
    assert len(points) == 4


def layers_alone(plan, trials):
    """Return a plan whose only axis is the layer of a model with 20 layers."""
    p = plan("search.models=[vgg16]", "pruner=none")
    step = replace(p.strategy.steps[-1], trials=trials, inherits=None, head_from=None, overrides={})
    fixed = ["model=vgg16", "optimizer=adam", "optimizer.lr=0.01"]
    return replace(p, strategy=replace(p.strategy, steps=(step,)), overrides=[*p.overrides, *fixed])


@pytest.mark.parametrize("sampler", ["gpyopt", "random", "tpe"])
def test_every_point_of_a_small_space_is_trained_once(plan, sampler):
    p, runner = layers_alone(plan, LAYERS["vgg16"] + 1), SimulatedRunner()
    p = replace(p, sampler={"name": sampler})
    executor = Threads(runner, 4, lambda number, overrides: time.sleep(0.001 * (number % 4)))
    experiment(p, runner, executor)
    layers = [parsed(overrides)["delimiting_layer"] for overrides in runner.asked]
    assert len(layers) == len(set(layers))
    assert len(layers) >= LAYERS["vgg16"] - 1  # the last ones may not be hit in a hundred draws


def test_a_double_of_a_running_trial_waits_for_its_score(plan, tmp_path):
    p = layers_alone(plan, 2)
    space = {"delimiting_layer": {"low": 3, "high": 4, "integer": True}}
    steps = (replace(p.strategy.steps[0], space=space),)
    p = replace(p, strategy=replace(p.strategy, steps=steps), sampler={"name": "random"})
    doubles = 0
    for seed in range(6):  # chance draws the same layer twice in some
        runner = SimulatedRunner()
        of_seed = replace(p, seed=seed, folder=tmp_path / str(seed))
        found = experiment(of_seed, runner, Threads(runner, 2, overtaken()))
        assert sorted(parsed(each)["delimiting_layer"] for each in runner.asked) == ["3", "4"]
        trials = trials_of(found)["layers"]
        for double in (trial for trial in trials if DUPLICATE_OF in trial.user_attrs):
            twin = trials[double.user_attrs[DUPLICATE_OF]]
            assert double.value == twin.value
            assert double.intermediate_values == twin.intermediate_values
            doubles += 1
    assert doubles


def test_a_mistake_of_the_users_ends_the_others_too(plan):
    p = plan("search.n_trials=4")

    def fails(n):
        return UserError("a rule must hold, got none; mend it.") if n == 1 else None

    runner = SimulatedRunner(fails)
    begun, stopping = threading.Event(), threading.Event()
    executor = Threads(runner, 2)

    def before(number, overrides):
        if number == 1:
            begun.set()
            stopping.wait(PATIENCE_SECONDS)
        begun.wait(PATIENCE_SECONDS)

    executor._before = before
    stop = executor.stop
    executor.stop = lambda: (stop(), stopping.set())
    found = Experiment(p, runner, executor=executor)
    with pytest.raises(UserError, match="a rule must hold"):
        found.run()
    states = [trial.state for trial in found.studies["shared"].get_trials()]
    assert states == [TrialState.WAITING, TrialState.WAITING]
    rows = read_csv(p.folder / "trials.csv")
    assert [(row["state"], row["reason"]) for row in rows] == [
        ("RUNNING", "interrupted, will be run again")
    ] * 2
    mended = SimulatedRunner()
    experiment(p, mended)
    assert len(mended.asked) == 4 + 3


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_a_trial_whose_worker_dies_runs_again_but_not_for_ever(plan, deaths, caplog):
    p, runner = plan("search.n_trials=3"), SimulatedRunner()
    died = []

    def before(number, overrides):
        if number == 1 and len(died) < deaths and threading.current_thread().name != "":
            died.append(number)
            raise WorkerDiedError("its worker process 7 ended with signal SIGKILL")

    experiment(p, runner, Threads(runner, 2, before))
    row = read_csv(p.folder / "trials.csv")[1]
    if deaths < 3:
        assert row["state"] == "COMPLETE"
        curve = [c for c in read_csv(p.folder / "curves.csv") if c["step"] == "shared"]
        assert len([c for c in curve if c["number"] == "1"]) == 2 * HEAD_EPOCHS
    else:
        assert row["state"] == "FAIL"
        assert row["reason"] == "WorkerDiedError: its worker process 7 ended with signal SIGKILL"


def test_of_equal_trials_the_first_is_best_though_it_ended_last(plan, monkeypatch):
    p = plan("search.n_trials=2", "search.layer_trials=1", "pruner=none")
    runner = SimulatedRunner()
    runner.score = lambda overrides: 0.5
    second_is_over = threading.Event()

    def before(number, overrides):
        if number == 0:
            second_is_over.wait(PATIENCE_SECONDS)

    executor = Threads(runner, 2, before)
    changed = Experiment.record

    def record(self):
        changed(self)
        over = self.studies["shared"].get_trials(states=(TrialState.COMPLETE,))
        if over:
            second_is_over.set()

    monkeypatch.setattr(Experiment, "record", record)
    Experiment(p, runner, executor=executor).run()
    best = json.loads((p.folder / "best.json").read_text())
    assert (best["step"], best["number"]) == ("shared", 0)
    assert (p.folder / "best_model" / "model.safetensors").exists()
    assert not list((p.folder / "trials").glob("*/model"))
