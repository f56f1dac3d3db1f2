"""How much each hyperparameter mattered: Optuna's fANOVA on the trials of every step.

The shares are those of the main effects alone (Hutter et al. 2014, "An Efficient Approach for
Assessing Hyperparameter Importance"): a random forest predicts the score, and the variance that
one parameter explains of it, averaged over the others, is set against that of all parameters.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tl_hpo.files import write_csv
from tl_hpo.search.samplers.axes import Axes
from tl_hpo.search.samplers.observations import observations

IMPORTANCE_FILE = "importance.csv"
COLUMNS = ("step", "parameter", "importance", "rank")
LEAST_TRIALS = 4
"""With fewer a forest tells nothing."""
EQUAL = 1e-6
"""Scores that differ by less are equal: a share of a million images, and forests see no more."""


def importances(studies: Mapping[str, optuna.Study], seed: int = 0) -> dict[str, dict[str, float]]:
    """Return the share of each parameter by step, the largest first; those of a step sum to 1.

    A trial counts with the score that a sampler learns from: a pruned one with its best epoch, a
    failed one not at all, nor one that was told another's score, which would count twice. Steps of
    which nothing can be told have no entry: fewer than four scored trials, fewer than two axes,
    equal scores.

    Args:
        studies: by the name of their step.
        seed: of the random forests.
    """
    found = {step: _importances(study, seed) for step, study in studies.items()}
    return {step: shares for step, shares in found.items() if shares}


def write_importance(path: Path, importances: Mapping[str, Mapping[str, float]]) -> None:
    """Write importance.csv: a row per parameter of every step, rank 1 for the most important."""
    rows = [
        {"step": step, "parameter": name, "importance": share, "rank": rank}
        for step, shares in importances.items()
        for rank, (name, share) in enumerate(shares.items(), start=1)
    ]
    write_csv(path, COLUMNS, rows)


def _importances(study: optuna.Study, seed: int) -> dict[str, float]:
    axes = Axes(_common_space(study))
    seen = [each for each in observations(study, axes) if not each.told]
    scores = [one.score for one in seen]
    points = {tuple(one.params[name] for name in axes.space) for one in seen}
    if len(seen) < LEAST_TRIALS or len(axes.space) < 2 or len(points) < 2:
        return {}
    if max(scores) - min(scores) < EQUAL:
        return {}
    copy = optuna.create_study()
    copy.add_trials([_complete(one.params, axes.space, one.score) for one in seen])
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = optuna.importance.get_param_importances(copy, evaluator=evaluator)
    ordered = sorted(shares.items(), key=lambda each: (-each[1], each[0]))
    return {name: float(share) for name, share in ordered}


def _common_space(study: optuna.Study) -> dict[str, BaseDistribution]:
    """Return the axes that all scored trials have, within the same bounds."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return optuna.search_space.intersection_search_space(trials, include_pruned=True)


def _complete(
    params: Mapping[str, Any], space: Mapping[str, BaseDistribution], score: float
) -> FrozenTrial:
    """Return a trial for Optuna, whose fANOVA takes complete trials and even axes only.

    It would weigh a learning rate by its value, so that nine tenths of [0.0001, 1] lay above 0.1.
    """
    return create_trial(
        params={name: _even(params[name], axis) for name, axis in space.items()},
        distributions={name: _even_axis(axis) for name, axis in space.items()},
        value=score,
    )


def _even(value: Any, axis: BaseDistribution) -> Any:
    return math.log10(value) if getattr(axis, "log", False) else value


def _even_axis(axis: BaseDistribution) -> BaseDistribution:
    if isinstance(axis, (FloatDistribution, IntDistribution)) and axis.log:
        return FloatDistribution(math.log10(axis.low), math.log10(axis.high))
    return axis
