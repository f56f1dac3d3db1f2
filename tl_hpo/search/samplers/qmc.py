"""Quasi-Monte Carlo search: points that fill the space more evenly than random ones."""

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.stats import qmc

from tl_hpo.search.samplers.design import point_of
from tl_hpo.search.samplers.of_space import SpaceSampler


class SobolSampler(SpaceSampler):
    """Trial ``number`` gets that point of the Sobol sequence, scrambled (Owen, 1998) by the seed.

    Optuna's QMCSampler has the same points, but counts them in the study: it draws the first trial
    at random, and a trial that is asked again after a crash costs a point.
    """

    advances = True

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values for all parameters of ``search_space``, within their distributions."""
        if not search_space:
            return {}
        sequence = qmc.Sobol(len(search_space), scramble=True, seed=self.seed)  # as Optuna does
        point = point_of(sequence, trial.number).tolist()
        return {
            name: quantile(distribution, u)
            for (name, distribution), u in zip(search_space.items(), point, strict=True)
        }


def quantile(distribution: BaseDistribution, u: float) -> Any:
    """Return the value below which the share ``u``, in [0, 1], of a uniform distribution lies.

    Choices, integers and steps have shares of equal width; on a logarithmic axis an integer has
    that of the half units around it.
    """
    if isinstance(distribution, CategoricalDistribution):
        n = len(distribution.choices)
        return distribution.choices[min(int(u * n), n - 1)]
    if not isinstance(distribution, (FloatDistribution, IntDistribution)):
        raise TypeError(f"no quantile is known for {distribution!r}")
    low, high, step = distribution.low, distribution.high, distribution.step
    margin = step / 2 if step is not None else 0.0
    value = _between(low - margin, high + margin, u, distribution.log)
    if step is not None:
        value = low + step * round((value - low) / step)
    value = min(max(value, low), high)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def _between(low: float, high: float, u: float, log: bool) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), u, log=False))
    return low + u * (high - low)
