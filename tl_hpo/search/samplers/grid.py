"""Grid search: every combination of some values of every axis, once.

| symbol | meaning | shape |
|---|---|---|
| values | those of one axis on the grid | (n_values,) |
| cell | position in the product of all values, the last axis running fastest | integer |
| cells | those that mean something of their own, shuffled | (n_points,) |
"""

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tl_hpo.errors import UserError
from tl_hpo.search.samplers import Conditions
from tl_hpo.search.samplers.axes import UnitAxis
from tl_hpo.search.samplers.of_space import SpaceSampler

MAX_CELLS = 1_000_000  # some 10 MB an axis; a search of that many trials never ends anyway


class GridSampler(SpaceSampler):
    """Proposes the grid's points that no earlier trial had, in an order that the seed shuffles.

    What a trial proposes depends on the trials of lower number and the seed alone. Once all points
    are taken, it begins again; see `exhausted`. Points that differ only in axes that do not apply
    count once. Failed trials have had their point.

    Args:
        space: distributions by parameter name.
        seed: of the search.
        points: values per number axis, at least 2: both ends and evenly between them, in the
            logarithm on a logarithmic axis; integers are rounded, equal ones count once.
        conditions: what axes that do not always apply need.

    Raises:
        UserError: an argument is out of its range, or the grid is too large.

    """

    advances = True

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        seed: int,
        points: int = 5,
        conditions: Conditions | None = None,
    ) -> None:
        super().__init__(space, seed)
        if isinstance(points, bool) or not isinstance(points, int) or points < 2:
            raise UserError(
                f"sampler.points must be a whole number of 2 or more, got {points!r}; "
                "the ends of an axis are two"
            )
        self.values = {name: values_of(each, points) for name, each in space.items()}
        self._conditions = conditions or {}
        self._shape = tuple(len(values) for values in self.values.values())
        if math.prod(self._shape) > MAX_CELLS:
            raise UserError(
                f"sampler.points and the choices must make a grid of at most {MAX_CELLS} points, "
                f"got {math.prod(self._shape)}; give fewer points, or use sampler=qmc"
            )
        self.cells = self._distinct_cells()
        np.random.default_rng(seed).shuffle(self.cells)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values for all parameters of ``search_space``."""
        if not search_space:
            return {}
        earlier = study.get_trials(deepcopy=False)[: trial.number]
        free = self._free(earlier)
        cell = free[0] if len(free) else self.cells[trial.number % len(self.cells)]
        indices = np.unravel_index(cell, self._shape)
        point = {n: v[int(i)] for (n, v), i in zip(self.values.items(), indices, strict=True)}
        return {name: point[name] for name in search_space}

    def exhausted(self, study: Study) -> bool:
        """Tell whether trials that have begun, and do not wait to run again, had every point."""
        begun = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        return not len(self._free(begun))

    def _free(self, trials: Sequence[FrozenTrial]) -> NDArray[np.int64]:
        """Return the cells that none of ``trials`` had, in their order."""
        cells = [self._cell(trial.params) for trial in trials]
        taken = [cell for cell in cells if cell is not None]
        return self.cells[~np.isin(self.cells, np.array(taken, dtype=np.int64))]

    def _cell(self, params: Mapping[str, Any]) -> int | None:
        """Return the cell of a trial's point, None where it is not on the grid."""
        indices = []
        for name, values in self.values.items():
            needs = self._conditions.get(name, {}).items()
            if not all(params.get(other) in wanted for other, wanted in needs):
                indices.append(0)
            elif name in params and params[name] in values:
                indices.append(values.index(params[name]))
            else:
                return None
        return int(np.ravel_multi_index(indices, self._shape)) if indices else 0

    def _distinct_cells(self) -> NDArray[np.int64]:
        """Return the cells at which axes that do not apply have the first of their values."""
        cells = np.arange(math.prod(self._shape))
        if not self._conditions:
            return cells
        indices = dict(zip(self.values, np.unravel_index(cells, self._shape), strict=True))
        distinct = np.ones(len(cells), dtype=bool)
        for name, needs in self._conditions.items():
            applies = np.ones(len(cells), dtype=bool)
            for other, wanted in needs.items():
                applies &= _among(self.values[other], wanted)[indices[other]]
            distinct &= applies | (indices[name] == 0)
        return cells[distinct]


def _among(values: Sequence[Any], wanted: Container[Any]) -> NDArray[np.bool_]:
    return np.array([value in wanted for value in values])


def values_of(distribution: BaseDistribution, points: int) -> list[Any]:
    """Return the values of an axis on the grid, rising; of a category all choices, in order."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if not isinstance(distribution, (FloatDistribution, IntDistribution)):
        raise TypeError(f"no grid is known for {distribution!r}")
    axis = UnitAxis(distribution)
    between = [axis.decode(i / (points - 1)) for i in range(1, points - 1)]
    # Both ends as they are: a logarithm there and back may miss the last digit.
    return sorted({axis.snap(distribution.low), *between, axis.snap(distribution.high)})
