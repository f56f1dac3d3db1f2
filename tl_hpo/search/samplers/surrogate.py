"""The model behind the proposals, read in the unit of the study's value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tl_hpo.search.samplers._session import session
from tl_hpo.search.samplers.axes import Axes, Number
from tl_hpo.search.samplers.observations import Observation
from tl_hpo.search.samplers.proposer import Array, Proposer
from tl_hpo.search.slices import Slice

_COMBINATIONS = 4  # of categories in the plots: more lines than this nobody compares


@dataclass(frozen=True)
class Surrogate:
    """A model fitted on past trials.

    Attributes:
        axes: the search space.
        past: the trials with a score that it was fitted on.
        factor: -1 where the study maximises, else 1.
        proposer: reads the model.
        built: the GPyOpt object, its model fitted.

    """

    axes: Axes
    past: list[Observation]
    factor: float
    proposer: Proposer
    built: Any

    def predict(self, params: Sequence[Mapping[str, Any]]) -> tuple[Array, Array, Array]:
        """Return mean, standard deviation and acquisition at n points, each of shape (n,).

        Mean and standard deviation are in the unit of the study's value, an accuracy for
        example; the larger the acquisition, the more promising the point.
        """
        with session(0):
            X = self.axes.encode(params)
            mean, std, acquisition = self.proposer.predict(self.built, X)
        return self.factor * mean, std, acquisition

    def largest_improvement(self) -> float | None:
        """Return the largest expected improvement over the space, in the unit of the value.

        None where the acquisition is another.
        """
        with session(0):
            return self.proposer.largest_improvement(self.built)

    def ranked(self) -> list[Observation]:
        """Return the past trials, the best first, earlier ones before equally good later ones."""
        return sorted(self.past, key=lambda each: self.factor * each.score)


def fit(
    axes: Axes, past: list[Observation], factor: float, proposer: Proposer, seed: int
) -> Surrogate:
    """Return the surrogate of past trials; at least one has a score, all have every axis."""
    X = axes.encode([each.params for each in past])
    Y = factor * np.array([[each.score] for each in past])
    with session(seed) as gpyopt:
        built = proposer.build(gpyopt, axes.domain(), X, Y)
        built._update_model(built.normalization_type)  # GPyOpt has no public way to fit only
    scored = [each for each in past if not each.failed]
    return Surrogate(axes, scored, factor, proposer, built)


def slices(surrogate: Surrogate, n: int = 200) -> list[Slice]:
    """Return lines of n points through the search space, for plots.

    First one line along every numeric axis through the best trial; then, along the first numeric
    axis, one through the best trial of each further combination of categories, up to 4
    combinations in all. Nothing where no axis is numeric.
    """
    numeric = {name: each for name, each in surrogate.axes.space.items() if is_number(each)}
    if not numeric:
        return []
    best, *others = _best_per_combination(surrogate)[:_COMBINATIONS]
    lines = [(name, best) for name in numeric]
    lines += [(next(iter(numeric)), other) for other in others]
    return [_slice(surrogate, name, _grid(numeric[name], n), other) for name, other in lines]


def is_number(distribution: BaseDistribution) -> TypeGuard[Number]:
    """Tell whether a distribution is over numbers."""
    return isinstance(distribution, (FloatDistribution, IntDistribution))


def _categories(axes: Axes, params: Mapping[str, Any]) -> tuple[Any, ...]:
    names = [n for n, each in axes.space.items() if isinstance(each, CategoricalDistribution)]
    return tuple(params[name] for name in names)


def _best_per_combination(surrogate: Surrogate) -> list[Observation]:
    """Return the best trial of every combination of categories seen, the best first."""
    best: dict[tuple[Any, ...], Observation] = {}
    for each in surrogate.ranked():
        best.setdefault(_categories(surrogate.axes, each.params), each)
    return list(best.values())


def _slice(surrogate: Surrogate, name: str, x: list[float], through: Observation) -> Slice:
    axes = surrogate.axes
    mean, std, acquisition = surrogate.predict([{**through.params, name: value} for value in x])
    combination = _categories(axes, through.params)
    alike = [each for each in surrogate.past if _categories(axes, each.params) == combination]
    return Slice(
        title=_title(axes, name, through) or name,
        label=name,
        log=bool(getattr(axes.space[name], "log", False)),
        x=x,
        mean=mean.tolist(),
        std=std.tolist(),
        acquisition=acquisition.tolist(),
        observed_x=[float(each.params[name]) for each in alike],
        observed_y=[each.score for each in alike],
    )


def _title(axes: Axes, name: str, through: Observation) -> str:
    held = {key: through.params[key] for key in axes.space if key != name}
    texts = {key: f"{v:.3g}" if isinstance(v, float) else str(v) for key, v in held.items()}
    return ", ".join(f"{key}={text}" for key, text in texts.items())


def _grid(distribution: Number, n: int) -> list[float]:
    """Return n rising values from the lowest to the highest, evenly spaced on the axis."""
    low, high = distribution.low, distribution.high
    space = np.geomspace if distribution.log else np.linspace
    return [float(value) for value in np.clip(space(low, high, n), low, high)]
