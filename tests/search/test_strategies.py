"""The strategies beyond the paper's, and what ends a search early."""

from collections import Counter
from dataclasses import replace

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from simulated import LAYERS, MODEL_GAIN, Layered, SimulatedRunner, parsed

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.search.earlier import configurations
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.limits import Limits
from tl_hpo.search.strategy import parse_strategy
from tl_hpo.search.study import EXPECTED

MODELS = "search.models=[densenet121,vgg16,my_timm_model]"


def test_joint_searches_everything_at_once(plan, run):
    p, runner = plan("strategy=joint", "search.n_trials=12"), SimulatedRunner()
    run(p, runner)
    assert len(runner.asked) == 12
    shares = [float(parsed(each)["delimiting_layer"]) for each in runner.asked]
    assert all("." in parsed(each)["delimiting_layer"] for each in runner.asked)
    assert min(shares) >= 0.0
    assert max(shares) <= 1.0
    assert len(set(shares)) > 6


def test_joint_separate_has_a_set_per_phase(plan, run):
    p, runner = plan("strategy=joint_separate", "search.n_trials=12"), SimulatedRunner()
    run(p, runner)
    rows = read_csv(p.folder / "trials.csv")
    assert any(row["head_lr"] != row["finetune_lr"] for row in rows)
    assert any(row["head_optimizer"] != row["finetune_optimizer"] for row in rows)


def test_per_model_gives_every_model_a_study_and_the_best_most_trials(plan, run):
    p, runner = plan("strategy=per_model", "search.n_trials=40", MODELS), SimulatedRunner()
    experiment = run(p, runner)
    assert list(experiment.studies) == [f"per_model-{m}" for m in MODEL_GAIN]
    counts = Counter(runner.model(each) for each in runner.asked)
    assert sum(counts.values()) == 40
    assert sorted(counts.values()) == [4, 10, 26]  # see test_halving
    first = {model: [] for model in LAYERS}
    for overrides in runner.asked[:12]:
        first[runner.model(overrides)].append(runner.score(overrides))
    assert counts[min(first, key=lambda model: max(first[model]))] == 4


def test_a_model_held_fixed_leaves_one_study(plan, run):
    p, runner = plan("strategy=per_model", fixed=("model",)), SimulatedRunner()
    experiment = run(p, runner)
    assert list(experiment.studies) == ["per_model"]
    assert len(runner.asked) == 6


class Killed(BaseException):
    """Ends the process as a signal would: nothing catches it."""


@pytest.mark.parametrize("moment", [2, 13, 30])
def test_an_interrupted_per_model_goes_on_to_the_same_end(plan, run, tmp_path, moment):
    p, whole = plan("strategy=per_model", "search.n_trials=40", MODELS), SimulatedRunner()
    run(replace(p, folder=tmp_path / "whole"), whole)
    with pytest.raises(Killed):
        run(p, SimulatedRunner(lambda n: Killed() if n == moment else None))
    resumed = SimulatedRunner()
    run(p, resumed)
    assert resumed.asked == whole.asked[moment - 1 :]


def test_a_model_whose_trials_all_fail_is_dropped(plan, run):
    class Broken(SimulatedRunner):
        def run(self, overrides, *rest):
            if self.model(overrides) == "vgg16":
                self.asked.append(overrides)
                raise RuntimeError("does not fit")
            return super().run(overrides, *rest)

    p, runner = plan("strategy=per_model", "search.n_trials=40", MODELS), Broken()
    run(p, runner)
    assert Counter(runner.model(each) for each in runner.asked)["vgg16"] == 4


def test_a_later_step_may_start_from_the_best_of_all_models(plan, run):
    p = plan("strategy=per_model", "search.n_trials=12", MODELS)
    [step] = p.strategy.steps
    layers = {"delimiting_layer": {"low": 0, "high": "n_layers", "integer": True}}
    steps = [
        {"name": step.name, "each": "model", "trials": step.trials, "space": dict(step.space)},
        {"name": "layers", "inherits": "per_model", "trials": 3, "space": layers},
    ]
    runner = SimulatedRunner()
    run(replace(p, strategy=parse_strategy({"name": "mine", "steps": steps})), runner)
    winner = parsed(max(runner.asked[:12], key=runner.score))
    for each in runner.asked[12:]:
        values = parsed(each)
        assert {k: values[k] for k in winner if k != "delimiting_layer"} == {
            k: winner[k] for k in winner if k != "delimiting_layer"
        }


@pytest.mark.parametrize("each", ["optimizer.lr", "weather"])
def test_each_must_name_an_axis_of_choices(each):
    space = {"optimizer.lr": {"low": 0.1, "high": 1.0}}
    with pytest.raises(UserError, match="each of step one"):
        parse_strategy(
            {"name": "mine", "steps": [{"name": "one", "trials": 3, "each": each, "space": space}]}
        )


def test_the_time_that_is_up_ends_the_search_after_the_running_trial(plan, run, monkeypatch):
    seconds = iter(range(0, 10_000, 10))
    monkeypatch.setattr("tl_hpo.search.experiment.make_clock", lambda before: lambda: next(seconds))
    p, runner = plan(), SimulatedRunner()
    run(replace(p, limits=Limits(max_hours=200 / 3600)), runner)
    assert 0 < len(runner.asked) < 6
    assert all(row["state"] == "COMPLETE" for row in read_csv(p.folder / "trials.csv"))


def test_a_step_ends_when_nothing_more_is_to_be_expected(plan, run):
    p = plan("strategy=joint", "search.n_trials=60", "sampler=random")
    easy = replace(p, limits=Limits(min_improvement=0.05, min_improvement_trials=2))
    runner = SimulatedRunner()
    experiment = run(easy, runner)
    assert 2 < len(runner.asked) < 60
    told = [t.user_attrs.get("expected_improvement") for t in experiment.studies["joint"].trials]
    assert all(value is None or value >= 0 for value in told)
    again = SimulatedRunner()
    run(easy, again)
    assert again.asked == []


def in_memory(plan, runner, storage=None):
    experiment = Experiment(plan, runner, storage or InMemoryStorage())
    experiment.run()
    return experiment.studies["joint"]


@pytest.mark.parametrize("moment", range(3, 8))
def test_an_interrupted_step_ends_where_an_uninterrupted_one_does(plan, moment):
    limits = Limits(min_improvement=0.02, min_improvement_trials=1)
    p = replace(plan("strategy=joint", "search.n_trials=7"), limits=limits)
    whole = in_memory(p, SimulatedRunner())
    storage = InMemoryStorage()
    if moment <= len(whole.trials):
        with pytest.raises(KeyboardInterrupt):
            in_memory(p, killed_at(moment), storage)
    resumed = in_memory(p, SimulatedRunner(), storage)
    told = [[t.user_attrs.get(EXPECTED) for t in study.trials] for study in (whole, resumed)]
    assert told[0] == told[1]
    assert [t.state for t in whole.trials] == [t.state for t in resumed.trials]


def killed_at(moment):
    return SimulatedRunner(lambda n: KeyboardInterrupt() if n == moment else None)


class Flat(Layered):
    """All configurations are equally good."""

    def score(self, overrides):
        return 0.9


def test_what_a_warm_start_promises_is_run_however_little_it_may_gain(plan, past):
    source = past("joint", "search.n_trials=8", runner=Layered())
    p = replace(
        plan("strategy=joint", "search.n_trials=9"),
        limits=Limits(min_improvement=0.3, min_improvement_trials=1),
        warm_start=configurations([source]),
        warm_trials=7,
    )
    study = in_memory(p, runner := Flat())
    assert len(runner.asked) == len(study.trials) == 7
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
