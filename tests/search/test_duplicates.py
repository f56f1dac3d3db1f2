"""What trains the same is trained once."""

from collections import Counter
from dataclasses import replace

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from simulated import Layered, SimulatedRunner, parsed

from tl_hpo.config import compose_trial
from tl_hpo.files import read_csv
from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.search.duplicates import identity
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.repeats import Repeats, candidates
from tl_hpo.search.strategy import parse_strategy
from tl_hpo.search.study import DUPLICATE_IN, DUPLICATE_OF, OVERRIDES, finished


def test_order_and_the_form_of_the_layer_make_no_difference():
    runner = SimulatedRunner()  # vgg16 has 20 layers there
    one = identity(["model=vgg16", "delimiting_layer=0.5", "seed=1"], runner)
    assert one == identity(["seed=1", "delimiting_layer=10", "model=vgg16"], runner)
    assert one != identity(["seed=1", "delimiting_layer=11", "model=vgg16"], runner)
    assert one != identity(["seed=2", "delimiting_layer=10", "model=vgg16"], runner)


class Composing(SimulatedRunner):
    """Has its layer composed by Hydra, as real trials have."""

    def settings(self, overrides):
        return {"delimiting_layer": compose_trial(overrides, ()).delimiting_layer}


@pytest.mark.parametrize(
    "layer",
    [
        [],
        ["delimiting_layer=+27"],
        ["++delimiting_layer=27"],
        ["delimiting_layer=2.67e-1", "delimiting_layer=0.667"],
        ["batch_size=27", "delimiting_layer=${batch_size}"],
    ],
)
def test_the_layer_is_the_one_that_a_trial_is_cut_at(layer):
    others = [text for text in layer if text.startswith("batch_size")]
    expected = sorted(["model=densenet121", *others, "delimiting_layer=27"])
    assert identity(["model=densenet121", *layer], Composing()) == expected


@given(a=st.floats(0, 1), b=st.floats(0, 1), n=st.integers(1, 50))
def test_two_shares_are_one_layer_exactly_if_they_are_trained_so(a, b, n):
    class OfLayers(SimulatedRunner):
        def count_layers(self, overrides):
            return n

    first, second = (["model=vgg16", f"delimiting_layer={each!r}"] for each in (a, b))
    same = identity(first, OfLayers()) == identity(second, OfLayers())
    assert same == (resolve_delimiting_layer(a, n) == resolve_delimiting_layer(b, n))


def tiny(plan, *more, n_trials=6):
    """Six points in all: three layers of two models, nothing else is searched."""
    p = plan("strategy=joint", f"search.n_trials={n_trials}", *more, fixed=("optimizer",))
    space = p.strategy.steps[0].space
    space["optimizer.lr"] = {"choices": [0.01]}
    space["delimiting_layer"] = {"choices": [0.0, 0.5, 1.0]}
    return p


@pytest.mark.parametrize("sampler", ["random", "tpe", "gpyopt"])
def test_every_point_of_a_small_space_is_trained_exactly_once(plan, run, sampler):
    p, runner = tiny(plan, f"sampler={sampler}"), SimulatedRunner()
    run(p, runner)
    points = {(runner.model(each), parsed(each)["delimiting_layer"]) for each in runner.asked}
    assert len(runner.asked) == len(points) == 6
    assert len(read_csv(p.folder / "trials.csv")) == 6


def test_a_space_without_another_point_ends_the_step(plan, run):
    p, runner = tiny(plan, "sampler=random", n_trials=9), SimulatedRunner()
    experiment = run(p, runner)
    assert len(runner.asked) == 6
    assert len(finished(experiment.studies["joint"])) == 6


def test_the_sampler_is_told_the_score_of_the_twin(plan, run):
    p = tiny(plan, "sampler=random", n_trials=9)
    experiment = run(p, SimulatedRunner())
    trials = experiment.studies["joint"].trials
    doubles = [trial for trial in trials if DUPLICATE_OF in trial.user_attrs]
    assert doubles
    for double in doubles:
        twin = trials[double.user_attrs[DUPLICATE_OF]]
        assert (double.params, double.value) == (twin.params, twin.value)
        assert double.intermediate_values == twin.intermediate_values
        assert double.state == optuna.trial.TrialState.COMPLETE


def test_a_cancelled_twin_is_told_as_cancelled(plan, run):
    p = tiny(plan, "sampler=random", "pruner=early_cancel", "pruner.threshold=0.99", n_trials=9)
    trials = run(p, SimulatedRunner()).studies["joint"].trials
    doubles = [trial for trial in trials if DUPLICATE_OF in trial.user_attrs]
    assert doubles
    assert {trial.state for trial in doubles} == {optuna.trial.TrialState.PRUNED}
    assert all(trial.intermediate_values for trial in doubles)


def test_a_point_that_failed_is_tried_again(plan, run):
    p = tiny(plan, "sampler=random", n_trials=7)
    failing = SimulatedRunner(lambda n: RuntimeError("once") if n == 1 else None)
    run(p, failing)
    first = failing.asked[0]
    assert failing.asked.count(first) == 2


def test_a_point_that_failed_twice_is_told_as_failed(plan):
    p = tiny(plan, "sampler=random", n_trials=12)
    experiment = Experiment(p, failing := Failing("vgg16"), InMemoryStorage())
    experiment.run()
    trials = experiment.studies["joint"].trials
    assert sorted(Counter(map(tuple, failing.asked)).values()) == [1, 1, 1, 2, 2, 2]
    told = [trial for trial in trials if trial.state == TrialState.FAIL and is_double(trial)]
    assert told
    assert {trial.params["model"] for trial in told} == {"vgg16"}
    assert len(read_csv(p.folder / "trials.csv")) == 9 == len(failing.asked)


class Failing(SimulatedRunner):
    """One whose trials of a model all fail."""

    def __init__(self, bad):
        super().__init__()
        self.bad = bad

    def run(self, overrides, *others):
        if self.model(overrides) == self.bad:
            self.asked.append(list(overrides))
            raise RuntimeError("out of memory")
        return super().run(overrides, *others)


def is_double(trial):
    return DUPLICATE_OF in trial.user_attrs


LAYER_STEP = """
name: steps
steps:
  - name: first
    trials: 2
    space: {optimizer: {choices: [sgd, adam]}}
  - name: layers
    inherits: first
    trials: 3
    space: {delimiting_layer: {low: 26, high: 28, integer: true}}
"""


class Peaked(Layered):
    """Best at layer 27 of 40, the default, and with sgd."""

    def score(self, overrides):
        layer = self.settings(overrides)["delimiting_layer"]
        return 0.8 - abs(resolve_delimiting_layer(layer, 40) - 27) / 100


def layer_step(plan, **kwargs):
    strategy = parse_strategy(yaml.safe_load(LAYER_STEP))
    return replace(plan("sampler=grid"), strategy=strategy, **kwargs)


def test_the_layer_step_is_told_the_score_of_the_configuration_that_it_inherits(plan, run):
    experiment = run(layer_step(plan), runner := Peaked())
    assert layers_of(runner.asked[2:]) == {"26", "28"}
    (told,) = [trial for trial in experiment.studies["layers"].trials if is_double(trial)]
    assert told.user_attrs[DUPLICATE_IN] == "first"
    twin = experiment.studies["first"].trials[told.user_attrs[DUPLICATE_OF]]
    assert (told.params["delimiting_layer"], told.value) == (27, twin.value)


def layers_of(asked):
    return {parsed(overrides)["delimiting_layer"] for overrides in asked}


def test_a_step_that_another_one_builds_on_trains_its_best_itself(plan, run):
    p = layer_step(plan)
    last = replace(p.strategy.steps[-1], name="last", inherits="layers")
    strategy = replace(p.strategy, steps=(*p.strategy.steps, last))
    run(replace(p, strategy=strategy), runner := Peaked())
    assert layers_of(runner.asked[2:]) == {"26", "27", "28"}
    assert len(runner.asked) == 5


def test_candidates_of_repeats_train_differently(plan, run):
    p = layer_step(plan, repeats=Repeats(times=1, best=9))
    experiment = run(p, Peaked())
    found = candidates({n: s.trials for n, s in experiment.studies.items()}, 9)
    trained = {(o["optimizer"], o.get("delimiting_layer", "27")) for o in map(chosen_in, found)}
    assert len(found) == len(trained) == 4


def chosen_in(candidate):
    return parsed(candidate.trial.user_attrs[OVERRIDES])


@pytest.mark.parametrize("sampler", ["grid", "qmc"])
def test_a_sampler_that_advances_by_itself_is_left_to_it(plan, run, sampler):
    points = ["sampler.points=31"] if sampler == "grid" else []
    p = plan("strategy=joint", f"sampler={sampler}", *points, "search.n_trials=18")
    p = replace(p, fixed=("optimizer", "optimizer.lr"))
    p.strategy.steps[0].space["model"] = {"choices": ["vgg16"]}  # of 20 layers
    study = run(p, SimulatedRunner()).studies["joint"]
    assert len(finished(study)) == 18
    assert any(is_double(trial) for trial in study.trials)
    alone = optuna.create_study(sampler=study.sampler)
    for trial in study.trials:
        again = alone.ask(fixed_distributions=trial.distributions)
        assert again.params == trial.params
        alone.tell(again, 0.5)
