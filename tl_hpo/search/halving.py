"""Sequential halving: how several searches share one budget of trials.

Every round gives each search that is left as many trials, then drops the worse half; the rounds
have about equal budgets, so those that are left get ever more, and the last one a whole round.
After Karnin, Koren, Somekh, "Almost optimal exploration in multi-armed bandits", ICML 2013.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """One round: ``arms`` searches are left; each has ``trials`` in all at its end."""

    arms: int
    trials: int


def schedule(n_trials: int, n_arms: int) -> list[Round]:
    """Return the rounds that spend exactly ``n_trials`` on ``n_arms`` searches.

    Args:
        n_trials: at least ``n_arms``.
        n_arms: at least 1.

    """
    rounds: list[Round] = []
    left, arms, each = n_trials, n_arms, 0
    n_rounds = math.ceil(math.log2(n_arms)) + 1
    while arms > 1:
        more = max(1, n_trials // (n_rounds * arms))
        if more * arms > left:
            break  # the budget is small: what is left goes to the best
        each, left = each + more, left - more * arms
        rounds.append(Round(arms, each))
        arms = math.ceil(arms / 2)
    if left:
        rounds.append(Round(1, each + left))
    return rounds
