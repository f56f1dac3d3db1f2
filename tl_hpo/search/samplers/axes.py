"""A search space as GPyOpt sees it: Optuna distributions to and from rows of numbers.

| symbol | meaning | shape |
|---|---|---|
| axis | one parameter with more than one value | |
| row | a point: a category's index, or a number, per axis | (n_axes,) |
| X | rows of past trials | (n_trials, n_axes) |
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Scale = Literal["unit", "raw"]
Number = FloatDistribution | IntDistribution


class Axis(Protocol):
    """One parameter: its GPyOpt domain, and the way there and back."""

    def domain(self) -> dict[str, Any]:
        """Return ``type`` and ``domain`` of the parameter for `GPyOpt.Design_space`."""

    def holds(self, value: Any) -> bool:
        """Tell whether ``value`` lies in the distribution."""

    def encode(self, value: Any) -> float:
        """Return the coordinate of a parameter value."""

    def decode(self, x: float) -> Any:
        """Return the parameter value nearest to a coordinate, always within the distribution."""


class CategoryAxis:
    """k choices as the categories 0..k-1, which GPyOpt's model sees as one-hot columns."""

    def __init__(self, distribution: CategoricalDistribution) -> None:
        self.distribution = distribution

    def domain(self) -> dict[str, Any]:
        """Return a categorical domain."""
        return {"type": "categorical", "domain": tuple(range(len(self.distribution.choices)))}

    def holds(self, value: Any) -> bool:
        """Tell whether ``value`` is one of the choices."""
        try:
            self.distribution.to_internal_repr(value)
        except ValueError:
            return False
        return True

    def encode(self, value: Any) -> float:
        """Return the index of a choice."""
        return float(self.distribution.to_internal_repr(value))

    def decode(self, x: float) -> Any:
        """Return the choice at an index."""
        return self.distribution.choices[round(x)]


class NumberAxis:
    """A number between bounds; subclasses say in which coordinate."""

    def __init__(self, distribution: Number) -> None:
        self.distribution = distribution

    def holds(self, value: Any) -> bool:
        """Tell whether ``value`` is a number within the bounds; the step is not asked for."""
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        return is_number and self.distribution.low <= value <= self.distribution.high

    def snap(self, value: float) -> float | int:
        """Return the value of the distribution nearest to ``value``."""
        low, high, step = self.distribution.low, self.distribution.high, self.distribution.step
        if step is not None:
            value = low + step * round((value - low) / step)
        value = min(max(value, low), high)
        return int(value) if isinstance(self.distribution, IntDistribution) else float(value)


class UnitAxis(NumberAxis):
    """u = (t - t_low) / (t_high - t_low) in [0, 1]; t is the value, its log10 on a log axis."""

    def __init__(self, distribution: Number) -> None:
        super().__init__(distribution)
        self._start = self._transform(distribution.low)
        self._width = self._transform(distribution.high) - self._start

    def domain(self) -> dict[str, Any]:
        """Return [0, 1], integers included: rounding is ours, not GPyOpt's."""
        return {"type": "continuous", "domain": (0.0, 1.0)}

    def encode(self, value: Any) -> float:
        """Return u."""
        return (self._transform(value) - self._start) / self._width

    def decode(self, x: float) -> float | int:
        """Return the value at u."""
        value = self._start + float(x) * self._width
        return self.snap(10.0**value if self.distribution.log else value)

    def _transform(self, value: float) -> float:
        return math.log10(value) if self.distribution.log else float(value)


class RawAxis(NumberAxis):
    """The value itself, linear even where the distribution is logarithmic, as in the paper."""

    def domain(self) -> dict[str, Any]:
        """Return the bounds, or every integer between them."""
        low, high = self.distribution.low, self.distribution.high
        if isinstance(self.distribution, IntDistribution):
            steps = range(self.distribution.low, self.distribution.high + 1, self.distribution.step)
            return {"type": "discrete", "domain": tuple(steps)}
        return {"type": "continuous", "domain": (float(low), float(high))}

    def encode(self, value: Any) -> float:
        """Return the value."""
        return float(value)

    def decode(self, x: float) -> float | int:
        """Return the value nearest to ``x``."""
        return self.snap(float(x))


class Axes:
    """The axes of a search space; parameters with a single value have none.

    Args:
        space: distributions by parameter name; their order is that of the columns of X.
        scale: ``unit`` (see `UnitAxis`) or ``raw`` (see `RawAxis`).

    """

    def __init__(self, space: Mapping[str, BaseDistribution], scale: Scale = "unit") -> None:
        self.space = searched(space)
        self._axes = {name: _axis(each, scale) for name, each in self.space.items()}

    def domain(self) -> list[dict[str, Any]]:
        """Return the domain that `GPyOpt.Design_space` takes, one entry per axis."""
        return [{"name": name, **axis.domain()} for name, axis in self._axes.items()]

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Tell whether ``params`` has a value within the distribution of every axis."""
        return all(name in params and a.holds(params[name]) for name, a in self._axes.items())

    def encode(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return X of parameter values, shape (len(points), n_axes)."""
        rows = [[a.encode(point[name]) for name, a in self._axes.items()] for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(points), len(self._axes))

    def decode(self, row: NDArray[np.float64]) -> dict[str, Any]:
        """Return the parameter values of one row, within their distributions."""
        return {name: a.decode(x) for (name, a), x in zip(self._axes.items(), row, strict=True)}


def searched(space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """Return the part of a space that has more than one value."""
    return {name: each for name, each in space.items() if not each.single()}


def _axis(distribution: BaseDistribution, scale: Scale) -> Axis:
    if isinstance(distribution, CategoricalDistribution):
        return CategoryAxis(distribution)
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return UnitAxis(distribution) if scale == "unit" else RawAxis(distribution)
    raise TypeError(f"no axis is known for {distribution!r}")
