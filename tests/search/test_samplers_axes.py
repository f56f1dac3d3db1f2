"""Parameter values to coordinates and back."""

import math

import pytest
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
