"""Opens the study of a step: its sampler, its pruner, and earlier configurations to begin with."""

import logging
from collections.abc import Callable, Sequence

import optuna
from optuna.storages import BaseStorage

from tl_hpo.overrides import values_of
from tl_hpo.search.plan import Plan
from tl_hpo.search.pruners import make_pruner
from tl_hpo.search.samplers import make_sampler
from tl_hpo.search.space import SearchSpace
from tl_hpo.search.study import finished, open_study
from tl_hpo.search.warm_start import first_trials

logger = logging.getLogger(__name__)


def open_step(
    plan: Plan,
    storage: BaseStorage,
    name: str,
    space: SearchSpace,
    n_trials: int,
    seed: int,
    overrides: Sequence[str],
) -> optuna.Study:
    """Return the study ``name``, which goes on where it was.

    Args:
        plan: of the experiment.
        storage: of the study.
        name: of the study.
        space: of the study.
        n_trials: that it is to have, at most.
        seed: of its sampler.
        overrides: that all its trials share.

    """
    sampler = make_sampler(
        plan.sampler,
        space.distributions,
        seed,
        conditions=space.conditions,
        usual=space.usual,
    )
    study = open_study(storage, name, sampler, make_pruner(plan.pruner, max_epochs=plan.epochs))
    if plan.warm_start and space.dimensions and not finished(study):
        _enqueue_earlier(plan, study, space, n_trials, overrides)
    return study


def _enqueue_earlier(
    plan: Plan, study: optuna.Study, space: SearchSpace, n_trials: int, overrides: Sequence[str]
) -> None:
    """Let the best configurations of earlier experiments come first."""
    n = min(plan.warm_trials, n_trials)
    points, left_out = first_trials(plan.warm_start, space, values_of(overrides), n)
    for point in points:
        study.enqueue_trial(point, skip_if_exists=True)
    logger.info(
        "%s begins with %d configurations of earlier experiments", study.study_name, len(points)
    )
    for line in left_out:
        logger.info("Left out of the warm start: %s", line)


def expected_improvement(
    plan: Plan, space: SearchSpace, seed: int
) -> Callable[[optuna.Study], float | None] | None:
    """Return what tells the improvement to be expected of a next trial, if a limit asks for it."""
    if plan.limits.min_improvement is None or not space.dimensions:
        return None
    from tl_hpo.search.samplers.gpyopt import GPyOptSampler

    model = GPyOptSampler(
        seed=seed, space=space.distributions, conditions=space.conditions, usual=space.usual
    )
    return model.expected_improvement
