"""Parameter values to coordinates and back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tl_hpo.search.samplers.axes import Axes

LR = FloatDistribution(1e-4, 1.0, log=True)


def test_unit_axes_scale_numbers_and_keep_logarithms():
    axes = Axes({"lr": LR, "layer": IntDistribution(0, 40)})
    assert axes.encode([{"lr": 0.01, "layer": 10}]).tolist() == [[0.5, 0.25]]


def test_raw_axes_ignore_the_logarithm_and_list_integers():
    axes = Axes({"lr": LR, "layer": IntDistribution(0, 6, step=3)}, "raw")
    lr, layer = axes.domain()
    assert lr == {"name": "lr", "type": "continuous", "domain": (1e-4, 1.0)}
    assert layer == {"name": "layer", "type": "discrete", "domain": (0, 3, 6)}
    assert axes.encode([{"lr": 0.01, "layer": 3}]).tolist() == [[0.01, 3.0]]


def test_single_values_have_no_axis():
    axes = Axes({"one": IntDistribution(2, 2), "only": CategoricalDistribution(("a",)), "lr": LR})
    assert [each["name"] for each in axes.domain()] == ["lr"]


@pytest.mark.parametrize(("low", "high"), [(3e-5, 0.7), (1e-4, 1.0), (1.1e-6, 1.3e-6)])
def test_ends_of_a_logarithmic_axis_stay_within_its_bounds(low, high):
    axes = Axes({"lr": FloatDistribution(low, high, log=True)})
    ends = [axes.decode([u])["lr"] for u in (0.0, 1.0)]
    assert ends == pytest.approx([low, high], rel=1e-12)
    assert low <= ends[0] <= ends[1] <= high


def test_integers_round_trip():
    for log in (False, True):
        axes = Axes({"n": IntDistribution(1, 300, log=log)})
        for n in range(1, 301):
            assert axes.decode(axes.encode([{"n": n}])[0]) == {"n": n}


def test_choices_of_any_kind_come_back_themselves():
    axes = Axes({"c": CategoricalDistribution((None, "a", 0.5, True))})
    assert [axes.decode([i])["c"] for i in range(4)] == [None, "a", 0.5, True]


@pytest.mark.parametrize("value", ["0.1", None, True, math.nan, 2.0])
def test_values_that_are_not_in_the_space_are_told(value):
    assert not Axes({"lr": LR}).holds({"lr": value})
    assert not Axes({"c": CategoricalDistribution(("a", "b"))}).holds({"c": value})


WHEN = {"momentum": {"optimizer": ("sgd", "rmsprop")}, "beta": {"optimizer": ("adam",)}}
CONDITIONAL = {
    "optimizer": CategoricalDistribution(("adam", "sgd", "rmsprop")),
    "momentum": FloatDistribution(0.0, 0.8),
    "beta": CategoricalDistribution((0.9, 0.95, 0.99)),
    "layer": IntDistribution(0, 40),
    "batch": IntDistribution(8, 128, log=True),
}


def test_coordinates_are_constant_where_an_axis_does_not_apply():
    axes = Axes(CONDITIONAL, conditions=WHEN)
    rest = {"momentum": 0.2, "beta": 0.99, "layer": 10, "batch": 8}
    X = axes.encode([{"optimizer": name, **rest} for name in ("adam", "sgd", "rmsprop")])
    assert X[:, 1].tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert X[:, 2].tolist() == [2.0, 0.0, 0.0]
    assert X[:, 3].tolist() == [0.25] * 3


def test_raw_axes_have_their_middle_where_they_do_not_apply():
    axes = Axes({**CONDITIONAL, "momentum": FloatDistribution(0.2, 0.8)}, "raw", WHEN)
    (row,) = axes.encode(
        [{"optimizer": "adam", "momentum": 0.3, "beta": 0.9, "layer": 1, "batch": 9}]
    )
    assert row[1] == pytest.approx(0.5)


@given(
    row=st.tuples(
        st.integers(0, 2), st.floats(0, 1), st.integers(0, 2), st.floats(0, 1), st.floats(0, 1)
    )
)
def test_canonical_rows_are_what_decoded_points_are_encoded_to(row):
    axes = Axes(CONDITIONAL, conditions=WHEN)
    X = np.array([row], dtype=float)
    expected = axes.encode([axes.decode(X[0])])
    assert axes.canonical(X) == pytest.approx(expected, abs=1e-12)
    assert X.tolist() == [list(row)]
