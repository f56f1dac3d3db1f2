"""Initial designs: the points of a search before there is a model."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tl_hpo.search.samplers._session import session

Design = Literal["sobol", "random"]
Array = NDArray[np.float64]


def random_design(domain: list[dict[str, Any]], n: int, seed: int) -> Array:
    """Return GPyOpt's random initial design of n points, shape (n, n_axes)."""
    with session(seed) as gpyopt:
        space = gpyopt.Design_space(domain)
        return np.asarray(gpyopt.experiment_design.initial_design("random", space, n), dtype=float)


def sobol_point(domain: list[dict[str, Any]], number: int, seed: int) -> Array:
    """Return point ``number`` of the scrambled Sobol sequence of a seed, shape (n_axes,)."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(domain), scramble=True, rng=seed)
    axes = zip(domain, point_of(sequence, number), strict=True)
    return np.array([_at(axis["type"], axis["domain"], u) for axis, u in axes])


def point_of(sequence: Any, number: int) -> Array:
    """Return point ``number`` of a new `scipy.stats.qmc.Sobol`, shape (n_axes,)."""
    if number:  # it refuses to go forward by none
        sequence.fast_forward(number)
    return np.asarray(sequence.random(1)[0])


def _at(kind: str, domain: Sequence[float], u: float) -> float:
    """Return the coordinate at u in [0, 1): of k values, that of index floor(u k)."""
    if kind == "continuous":
        return domain[0] + u * (domain[1] - domain[0])
    return domain[int(u * len(domain))]
