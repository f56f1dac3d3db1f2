"""What trains the same is trained once."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import SimulatedRunner, parsed

from tl_hpo.files import read_csv
from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.search.duplicates import identity
from tl_hpo.search.study import DUPLICATE_OF, finished


def forty():
    return 40


def test_order_and_the_form_of_the_layer_make_no_difference():
    one = identity(["model=vgg16", "delimiting_layer=0.5", "seed=1"], forty)
    assert one == identity(["seed=1", "delimiting_layer=20", "model=vgg16"], forty)
    assert one != identity(["seed=1", "delimiting_layer=21", "model=vgg16"], forty)
    assert one != identity(["seed=2", "delimiting_layer=20", "model=vgg16"], forty)


@given(a=st.floats(0, 1), b=st.floats(0, 1), n=st.integers(1, 50))
def test_two_shares_are_one_layer_exactly_if_they_are_trained_so(a, b, n):
    same = identity([f"delimiting_layer={a!r}"], lambda: n) == identity(
        [f"delimiting_layer={b!r}"], lambda: n
    )
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
