"""Stopping rules: hours, and expected improvements that stay negligible."""

import math
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.errors import UserError
from tl_hpo.search.stopping import Deadline, NegligibleImprovement, negligible

NONSENSE = [0, -1, -0.5, math.nan, math.inf, "2", "soon", True, [1]]


@pytest.mark.parametrize(
    ("seconds", "over"), [(0, False), (5399.9, False), (5400, True), (9000, True)]
)
def test_an_hour_and_a_half_has_5400_seconds(seconds, over):
    assert Deadline(1.5, lambda: seconds).over() is over


def test_no_hours_are_no_limit():
    assert not Deadline(None, lambda: math.inf).over()


def test_the_clock_is_read_anew_each_time():
    times = iter([10.0, 3600.0, 20.0])
    deadline = Deadline(1, lambda: next(times))
    assert [deadline.over() for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_hours_are_refused_with_the_value_and_the_remedy(value):
    rule = r"search\.max_hours must be a positive number of hours or null, got .*; give 0\.5"
    with pytest.raises(UserError, match=rule) as caught:
        Deadline(value, lambda: 0.0)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", NONSENSE)
def test_a_nonsense_threshold_is_refused(value):
    with pytest.raises(UserError, match=r"search\.min_improvement must be a positive .*0\.001"):
        NegligibleImprovement(value)


@pytest.mark.parametrize("value", [*NONSENSE, 2.0, 1.5, None])
def test_a_nonsense_patience_is_refused(value):
    with pytest.raises(UserError, match=r"search\.min_improvement_trials must be a whole number"):
        NegligibleImprovement(0.001, value)


def test_three_negligible_ones_in_a_row_stop():
    rule = NegligibleImprovement(0.001)
    values = [None, None, 0.0005, 0.0005, 0.002, 0.0009, 0.0, 0.0001]
    stops = [rule.stops(values[:count]) for count in range(len(values) + 1)]
    assert stops == [False] * 8 + [True]


def test_the_threshold_itself_is_not_negligible():
    assert not negligible([0.001], 0.001, 1)
    assert negligible([math.nextafter(0.001, 0)], 0.001, 1)


def test_without_a_threshold_nothing_stops():
    assert not NegligibleImprovement(None, 1).stops([0.0] * 100)


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_what_is_unknown_is_not_negligible(unknown):
    assert not negligible([0.0, unknown, 0.0], 0.001, 2)
    assert negligible([unknown, 0.0, 0.0], 0.001, 2)


improvements = st.lists(st.none() | st.floats(0, 0.01), max_size=12)


@given(improvements, st.floats(1e-6, 0.01), st.integers(1, 5))
def test_it_stops_where_the_last_run_of_negligible_ones_is_long_enough(values, threshold, patience):
    small = [value is not None and value < threshold for value in values]
    runs = [(each, len(list(run))) for each, run in groupby(small)]
    last = runs[-1] if runs else (False, 0)
    assert negligible(values, threshold, patience) is (last[0] and last[1] >= patience)


@given(improvements, st.floats(1e-6, 0.01), st.integers(1, 5))
def test_a_smaller_threshold_or_more_patience_never_stops_earlier(values, threshold, patience):
    if not negligible(values, threshold, patience):
        assert not negligible(values, threshold / 2, patience)
        assert not negligible(values, threshold, patience + 1)
