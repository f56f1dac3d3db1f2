"""Opens the study of a step: its sampler, its pruner, and earlier configurations to begin with."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict

import optuna
from optuna.storages import BaseStorage

from tl_hpo.overrides import values_of
from tl_hpo.search.earlier import Earlier
from tl_hpo.search.plan import Plan
from tl_hpo.search.pruners import make_pruner
from tl_hpo.search.samplers import make_sampler
from tl_hpo.search.sharing import written_alone
from tl_hpo.search.space import SearchSpace
from tl_hpo.search.study import EARLIER, finished, open_study
from tl_hpo.search.warm_file import WARM_FILE, Brought, LeftOut, note_step
from tl_hpo.search.warm_start import first_trials

logger = logging.getLogger(__name__)

SHOWN = 5  # configurations left out, more than that are counted in the log


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
        _enqueue_earlier(plan, storage, study, space, n_trials, overrides)
    return study


def _enqueue_earlier(
    plan: Plan,
    storage: BaseStorage,
    study: optuna.Study,
    space: SearchSpace,
    n_trials: int,
    overrides: Sequence[str],
) -> None:
    """Let the best configurations of earlier experiments come first."""
    n = min(plan.warm_trials, n_trials)
    points, left_out = first_trials(plan.warm_start, space, values_of(overrides), n)
    name = study.study_name
    for point, earlier in points:
        study.enqueue_trial(point, user_attrs={EARLIER: str(earlier)}, skip_if_exists=True)
    logger.info("%s begins with %d configurations of earlier experiments", name, len(points))
    lines = [f"{earlier}: {left.reason}" for earlier, left in left_out]
    more = len(lines) - SHOWN
    for line in lines if more <= 0 else [*lines[:SHOWN], f"{more} more, named in {WARM_FILE}"]:
        logger.info("Left out of the warm start: %s", line)
    with written_alone(storage, plan.folder):
        note_step(
            plan.folder / WARM_FILE,
            name,
            _brought(study, [earlier for _, earlier in points]),
            [LeftOut(name, str(earlier), **asdict(left)) for earlier, left in left_out],
        )


def _brought(study: optuna.Study, found: Sequence[Earlier]) -> list[Brought]:
    """Return which trials of a study the configurations ``found`` are."""
    numbers = {t.user_attrs.get(EARLIER): t.number for t in study.get_trials(deepcopy=False)}
    return [
        Brought(study.study_name, numbers[str(each)], str(each), each.accuracy)
        for each in found
        if str(each) in numbers
    ]


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
