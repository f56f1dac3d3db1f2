"""The strategies beyond the paper's, and what ends a search early."""

import json
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
from tl_hpo.search.repeats import Repeats
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


@pytest.mark.parametrize("model", ["vgg16", "my_timm_model"])
def test_an_axis_may_apply_with_some_choices_of_each_alone(plan, model):
    momentum = {"low": 0.0, "high": 0.9, "when": {"model": [model]}}
    step = {
        "name": "mine",
        "each": "model",
        "trials": 6,
        "space": {
            "model": {"choices": ["densenet121", "vgg16", "my_timm_model"]},
            "optimizer.lr": {"low": 0.01, "high": 0.1, "usual": {"model": {model: 0.02}}},
            "optimizer.momentum": momentum,
        },
    }
    p, runner = plan(), SimulatedRunner()
    p = replace(p, strategy=parse_strategy({"name": "mine", "steps": [step]}))
    experiment = Experiment(p, runner, InMemoryStorage())
    experiment.run()
    for each in runner.asked:
        assert ("optimizer.momentum" in parsed(each)) == (runner.model(each) == model)
    for name, study in experiment.studies.items():
        axes = {"optimizer.lr", "optimizer.momentum"} if name.endswith(model) else {"optimizer.lr"}
        assert all(set(trial.params) == axes for trial in study.trials)
    [usual] = [experiment._space(p.strategy.steps[0], decided={"model": model}).usual]
    assert usual == {"optimizer.lr": {"": {None: 0.02}}}


@pytest.mark.parametrize("each", ["optimizer.lr", "weather", "conditional", "empty"])
def test_each_must_name_an_axis_of_choices(each):
    space = {
        "optimizer.lr": {"low": 0.1, "high": 1.0},
        "optimizer": {"choices": ["sgd", "adam"]},
        "conditional": {"choices": [1, 2], "when": {"optimizer": ["sgd"]}},
        "empty": None,
    }
    with pytest.raises(UserError, match="each of step one must name an axis"):
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


class Hour:
    """A clock that stands still but for the trials, each of which takes a minute."""

    def __init__(self, monkeypatch):
        self.seconds = 0
        monkeypatch.setattr(
            "tl_hpo.search.experiment.make_clock", lambda before: lambda: self.seconds
        )

    def passes(self, n):
        self.seconds = 60 * n


def what_came_out(folder):
    """What best.json names, without the time, and which model is kept."""
    best = json.loads((folder / "best.json").read_text())
    return best | {"search_seconds": None}, (
        folder / "best_model" / "model.safetensors"
    ).read_text()


RATES_THEN_MODELS = {
    "name": "mine",
    "steps": [
        {
            "name": "rates",
            "trials": 3,
            "space": {"optimizer.lr": {"low": 1e-4, "high": 1e-3, "log": True}},
        },
        {
            "name": "models",
            "each": "model",
            "trials": 6,
            "space": {
                "model": {"choices": ["densenet121", "vgg16"]},
                "optimizer.lr": {"low": 5e-3, "high": 0.02, "log": True},
            },
        },
    ],
}


@pytest.mark.parametrize(
    ("strategy", "repeats", "minutes", "step"),
    [
        (None, Repeats(), 9, "layers"),
        (RATES_THEN_MODELS, Repeats(), 8, "models-densenet121"),
        (None, Repeats(2, 2, ["split.seed=7"]), 11, "layers"),  # among the repeats
        (None, Repeats(2, 2, ["split.seed=7"]), 13, "repeats"),
    ],
)
def test_a_repeated_command_whose_time_is_up_changes_nothing(
    plan, monkeypatch, strategy, repeats, minutes, step
):
    clock, storage = Hour(monkeypatch), InMemoryStorage()
    p = replace(plan(), limits=Limits(max_hours=minutes / 60), repeats=repeats)
    p = replace(p, strategy=parse_strategy(strategy)) if strategy else p
    first = Experiment(p, SimulatedRunner(clock.passes), storage)
    first.run()
    before = what_came_out(p.folder)
    assert before[0]["step"] == step  # one that a run without time would not begin
    idle = SimulatedRunner()
    again = Experiment(p, idle, storage)
    again.run()
    assert idle.asked == []
    assert list(again.studies) == list(first.studies)
    assert what_came_out(p.folder) == before


def test_a_later_step_that_has_not_begun_is_skipped_when_the_time_is_up(plan, monkeypatch):
    clock, storage = Hour(monkeypatch), InMemoryStorage()
    p = replace(plan(), limits=Limits(max_hours=6 / 60))
    for _ in range(2):
        experiment = Experiment(p, SimulatedRunner(clock.passes), storage)
        experiment.run()
        assert list(experiment.studies) == ["shared"]


@pytest.mark.parametrize("strategy", ["shared", "per_model"])
def test_one_trial_runs_however_short_the_time_is(plan, strategy):
    p, runner, storage = plan(f"strategy={strategy}"), SimulatedRunner(), InMemoryStorage()
    p = replace(p, limits=Limits(max_hours=1e-9))
    for _ in range(2):
        Experiment(p, runner, storage).run()
        assert len(runner.asked) == 1
        assert what_came_out(p.folder)[0]["number"] == 0


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


def step(name, each=None, choices=("x", "y")):
    space = {"model": {"choices": list(choices)}}
    return {"name": name, "trials": 2, "space": space} | ({"each": each} if each else {})


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([step("repeats")], "'repeats' for step repeats and for search.repeats"),
        ([step("a", each="model"), step("a-x")], "'a-x' for step a-x and for step a"),
        ([step("a-y"), step("a", each="model")], "'a-y' for step a and for step a-y"),
        ([step("a", "model", ["b-c"]), step("a-b", "model", ["c"])], "'a-b-c' for step a-b"),
        ([step("a", "model", [1, "1"])], "'a-1' for step a and for step a"),
    ],
)
def test_two_studies_of_one_name_are_refused(steps, told):
    with pytest.raises(UserError, match=f"name of its own, got {told}.*rename a step") as error:
        parse_strategy({"name": "mine", "steps": steps})
    assert "\n" not in str(error.value)


def test_studies_may_have_names_alike():
    steps = [step("a", each="model"), step("a-z"), step("repeat")]
    names = parse_strategy({"name": "mine", "steps": steps}).studies()
    assert names == ["a", "a-x", "a-y", "a-z", "repeat"]


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
