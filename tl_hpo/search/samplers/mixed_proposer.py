"""`MixedProposer`: GPyOpt with a model and a search made for categories beside numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_hpo.search.samplers.expected_improvement import output_of
from tl_hpo.search.samplers.proposer import Array


def _itself(rows: Array) -> Array:
    return rows


@dataclass(frozen=True)
class MixedProposer:
    """A Gaussian process over categories and numbers, expected improvement, exact search.

    The kernel is that of `mixed_gp`, its parameters the most probable ones; the acquisition the
    logarithm of the expected improvement; the search that of `candidates`. Accuracies are
    modelled by the logarithm of the error (see `expected_improvement.output_of`). Past and
    pending points are never proposed again. The number of threads changes nothing.

    Attributes:
        canonical: of rows (n, n_axes), those that stand for the same points of the search space,
            such as numbers rounded to the integers that they are decoded to.
        features: of rows, what the model compares: numbers relative to what is usual, for example.
        cost_exponent: the expected improvement is divided by the expected seconds of the trial to
            this power; 0: what a trial takes does not matter.
        seconds: of the past points, in their order, not a number where they are not known.

    """

    canonical: Callable[[Array], Array] = _itself
    features: Callable[[Array], Array] = _itself
    cost_exponent: float = 0.0
    seconds: tuple[float, ...] = ()

    def build(self, gpyopt: Any, domain: list[dict[str, Any]], X: Array, Y: Array) -> Any:
        """Return the `ModularBayesianOptimization`."""
        from tl_hpo.search.samplers.mixed_parts import MixedOptimization

        rng = np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint32))
        built = MixedOptimization(domain, X, Y, output_of(Y), self.canonical, self.features, rng)
        if self.cost_exponent and self.seconds:
            built.weigh_by_cost(X, np.array(self.seconds), self.cost_exponent)
        return built

    def predict(self, built: Any, X: Array) -> tuple[Array, Array, Array]:
        """Return mean, standard deviation with noise, and expected improvement, in the unit of Y.

        Where the model sees the logarithm of the error, the mean is the median of Y, and the
        standard deviation half the width of its middle 68 %.
        """
        return built.predict(X)

    def largest_improvement(self, built: Any) -> float | None:
        """Return the largest expected improvement over the space, in the unit of Y."""
        return built.largest_improvement()
