"""What is usual: where a search begins, and what rates of different optimizers are compared by."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution

from tl_hpo.errors import UserError
from tl_hpo.search.samplers import make_sampler
from tl_hpo.search.samplers.axes import Axes
from tl_hpo.search.space import parse_space

USUAL_RATES = {"sgd": 0.01, "adam": 0.001, "adadelta": 1.0}
SPACE = {
    "optimizer": CategoricalDistribution(("sgd", "adam", "adadelta", "mine")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
}
USUAL = {"lr": {"optimizer": USUAL_RATES}}
AXES = Axes(SPACE, usual=USUAL)
rate = st.floats(1e-4, 1.0)


@given(optimizer=st.sampled_from(["sgd", "adam", "adadelta"]), lr=rate, factor=st.floats(0.1, 10))
def test_rates_that_are_as_unusual_are_alike(optimizer, lr, factor):
    one, other = (
        AXES.features(AXES.encode([{"optimizer": name, "lr": USUAL_RATES[name] * factor}]))[0, 1]
        for name in (optimizer, "adam")
    )
    assert one == pytest.approx(other, abs=1e-12)
    assert one == pytest.approx(math.log10(factor) / 4, abs=1e-12)


@given(u=st.floats(0, 1), code=st.integers(0, 3))
def test_a_search_begins_within_a_decade_of_what_is_usual(u, code):
    params = AXES.decode(AXES.near_the_usual(np.array([float(code), u])))
    usual = USUAL_RATES.get(params["optimizer"], 0.01)  # of an unknown one the middle of the range
    assert 1e-4 <= params["lr"] <= 1.0
    assert abs(math.log10(params["lr"] / usual)) <= 1.0 + 1e-9


def test_nothing_usual_changes_nothing():
    row = np.array([[1.0, 0.3]])
    for axes in (Axes(SPACE), Axes(SPACE, "raw", usual=USUAL)):
        assert (axes.features(row) == row).all()
        assert (axes.near_the_usual(row[0]) == row[0]).all()


def test_the_sampler_begins_there_and_may_go_anywhere():
    cfg = {"name": "gpyopt", "n_initial": 8}
    sampler = make_sampler(cfg, SPACE, 0, usual=USUAL)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(16):
        trial = study.ask(fixed_distributions=SPACE)
        study.tell(trial, 0.5 + 0.1 * math.log10(trial.params["lr"]) / 4)  # the larger the better
    far = [
        abs(math.log10(t.params["lr"] / USUAL_RATES.get(t.params["optimizer"], 0.01)))
        for t in study.trials
    ]
    assert max(far[:8]) <= 1.0 + 1e-9
    assert max(far[8:]) > 1.0


@pytest.mark.parametrize("usual", [None, {"optimizer": None}, {"optimizer": {"sgd": None}}, {}])
def test_null_says_that_nothing_is_usual(usual):
    axes = {
        "optimizer": {"choices": ["sgd", "adam"]},
        "optimizer.lr": {"low": 1e-4, "high": 1.0, "log": True, "usual": usual},
    }
    assert parse_space(axes).usual == {}
    assert parse_space(axes, fixed=["optimizer"], given=["optimizer=sgd"]).usual == {}


def test_one_choice_may_have_no_usual_value():
    usual = {"optimizer": {"sgd": None, "adam": 0.01}}
    axes = {
        "optimizer": {"choices": ["sgd", "adam"]},
        "optimizer.lr": {"low": 1e-4, "high": 1.0, "log": True, "usual": usual},
    }
    assert parse_space(axes).usual == {"optimizer.lr": {"optimizer": {"adam": 0.01}}}


@pytest.mark.parametrize("strategy", ["shared", "separate_steps", "per_model"])
def test_usual_rates_can_be_switched_off(plan, strategy):
    for overrides, some in (([], True), (["search.usual_lr=null"], False)):
        for step in plan(f"strategy={strategy}", *overrides).strategy.steps:
            space = parse_space(step.space, models=["vgg16"], count_layers=lambda: 3)
            rates = [key for key in step.space if key.endswith("lr")]
            assert sorted(space.usual) == (sorted(rates) if some else [])


def test_one_value_is_usual_where_the_optimizer_is_held_fixed():
    axes = {
        "optimizer": {"choices": ["sgd", "adam"]},
        "optimizer.lr": {
            "range": {"low": 1e-4, "high": 1.0, "log": True},
            "usual": {"optimizer": USUAL_RATES},
        },
    }
    free = parse_space(axes)
    assert free.usual == {"optimizer.lr": {"optimizer": USUAL_RATES}}
    held = parse_space(axes, fixed=["optimizer"], given=["optimizer=adam"])
    own = Axes(held.distributions, usual=held.usual)
    low, high = (own.decode(own.near_the_usual(np.array([u])))["optimizer.lr"] for u in (0.0, 1.0))
    assert (low, high) == (pytest.approx(1e-4), pytest.approx(1e-2))
    other = parse_space(axes, fixed=["optimizer"], given=["optimizer=mine"])
    assert other.usual == {}


@pytest.mark.parametrize(
    "usual", [3, {"optimizer": 0.1}, {"optimizer": {"sgd": 0}}, {"a": {}, "b": {}}]
)
def test_nonsense_is_refused(usual):
    with pytest.raises(UserError, match="usual"):
        parse_space({"lr": {"low": 0.1, "high": 1.0, "usual": usual}})
