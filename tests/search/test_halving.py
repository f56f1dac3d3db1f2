"""Sequential halving shares a budget exactly, and gives ever more to ever fewer."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.search.halving import Round, schedule


def test_three_searches_and_forty_trials_by_hand():
    # Three rounds of about 13: three searches with 4 each, two with 6 more, one with the rest.
    assert schedule(40, 3) == [Round(3, 4), Round(2, 10), Round(1, 26)]


def test_one_search_has_all():
    assert schedule(10, 1) == [Round(1, 10)]


def test_a_budget_of_one_trial_each_ends_after_a_round():
    assert schedule(9, 9) == [Round(9, 1)]


@given(n_arms=st.integers(1, 40), more=st.integers(0, 300))
def test_the_budget_is_spent_exactly(n_arms, more):
    n_trials = n_arms + more
    rounds = schedule(n_trials, n_arms)
    spent, before = 0, 0
    for each in rounds:
        assert each.trials > before
        spent += each.arms * (each.trials - before)
        before = each.trials
    assert spent == n_trials
    assert rounds[0].arms == n_arms
    for earlier, later in pairwise(rounds):
        assert later.arms in (1, math.ceil(earlier.arms / 2))
