"""What an experiment is going to do, as far as it is known before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass

from tl_hpo.search.plan import Plan
from tl_hpo.search.space import is_fixed
from tl_hpo.search.stopping import SECONDS_PER_HOUR
from tl_hpo.search.strategy import Step
from tl_hpo.search.study import REPEATS


@dataclass(frozen=True)
class OutlinedStep:
    """A step of an experiment, or the repeats after the last.

    Attributes:
        trials: that it is planned to have.
        studies: names of those that it may have.

    """

    name: str
    trials: int
    studies: frozenset[str]


@dataclass(frozen=True)
class Outline:
    """An experiment before it begins.

    Attributes:
        name: what to call it.
        steps: in their order.
        epochs: that each phase of a trial has at most, unless its overrides say otherwise.
        limit: seconds after which no trial begins; None: no limit.

    """

    name: str
    steps: tuple[OutlinedStep, ...]
    epochs: Mapping[str, int]
    limit: float | None = None


def outline_of(plan: Plan, name: str, epochs: Mapping[str, int]) -> Outline:
    """Return the outline of a plan, for an experiment of that name and trials of these epochs."""
    steps = [
        OutlinedStep(step.name, _trials(step, plan), frozenset(step.studies()))
        for step in plan.strategy.steps
    ]
    if plan.repeats.times:
        trials = plan.repeats.times * plan.repeats.best
        steps.append(OutlinedStep(REPEATS, trials, frozenset([REPEATS])))
    hours = plan.limits.max_hours
    limit = None if hours is None else hours * SECONDS_PER_HOUR
    return Outline(name, tuple(steps), epochs, limit)


def _trials(step: Step, plan: Plan) -> int:
    """Return how many trials a step will have: one, where the command line fixes all its axes."""
    searches = any(not is_fixed(key, plan.fixed) for key in step.space)
    return step.trials if searches else 1
