"""A search space as GPyOpt sees it: Optuna distributions to and from rows of numbers.

| symbol | meaning | shape |
|---|---|---|
| axis | one parameter with more than one value | |
| row | a point: a category's index, or a number, per axis | (n_axes,) |
| X | rows of past trials | (n_trials, n_axes) |
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tl_hpo.search.samplers import Conditions, Usual

Array = NDArray[np.float64]
Scale = Literal["unit", "raw"]
Number = FloatDistribution | IntDistribution

_DECADES = 2.0  # that an initial design spreads over, around what is usual


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

    def snap_all(self, x: Array) -> Array:
        """Return the coordinates of the values that ``x``, shape (n,), is decoded to."""

    @property
    def neutral(self) -> float:
        """Return the coordinate that stands for any value, where the axis does not apply."""


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

    def snap_all(self, x: Array) -> Array:
        """Return the indices themselves."""
        return x

    @property
    def neutral(self) -> float:
        """Return the first category."""
        return 0.0


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

    def snap_all(self, x: Array) -> Array:
        """Return u of rounded values, or itself where no value is rounded."""
        if self.distribution.step is None:
            return x
        low, high, step = self.distribution.low, self.distribution.high, self.distribution.step
        value = self._start + x * self._width
        value = 10.0**value if self.distribution.log else value
        value = np.clip(low + step * np.round((value - low) / step), low, high)
        value = np.log10(value) if self.distribution.log else value
        return (value - self._start) / self._width

    @property
    def neutral(self) -> float:
        """Return the middle."""
        return 0.5

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

    def snap_all(self, x: Array) -> Array:
        """Return the rounded values."""
        return np.array([float(self.decode(each)) for each in x])

    @property
    def neutral(self) -> float:
        """Return the middle."""
        return (float(self.distribution.low) + float(self.distribution.high)) / 2


class _Condition(NamedTuple):
    """Column ``column`` is ``neutral`` where the column ``other`` has none of ``codes``."""

    column: int
    neutral: float
    other: int
    codes: tuple[float, ...]


class _Usual(NamedTuple):
    """Column ``column`` is about ``centres[code]`` where the column ``other`` is ``code``.

    ``decade`` is the width of a factor of ten; ``other`` is None where there is one centre.
    """

    column: int
    other: int | None
    centres: Array
    decade: float

    def of(self, X: Array) -> Array:
        """Return the usual coordinate of each of the rows X, shape (len(X),)."""
        if self.other is None:
            return np.full(len(X), self.centres[0])
        return self.centres[X[:, self.other].astype(int)]


class Axes:
    """The axes of a search space; parameters with a single value have none.

    Where an axis does not apply at a point, its coordinate there is a constant, whatever value
    the point has for it.

    Args:
        space: distributions by parameter name; their order is that of the columns of X.
        scale: ``unit`` (see `UnitAxis`) or ``raw`` (see `RawAxis`).
        conditions: values of other axes, all of categories, that an axis needs to apply.
        usual: the values of logarithmic axes that are usual with the choices of another axis. They
            tell the model which values are alike, and the initial design where to begin; with the
            scale ``raw`` they are ignored.

    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        scale: Scale = "unit",
        conditions: Conditions | None = None,
        usual: Usual | None = None,
    ) -> None:
        self.space = searched(space, conditions)
        self._axes = {name: _axis(each, scale) for name, each in self.space.items()}
        self._rounded = [
            (column, axis)
            for column, (name, axis) in enumerate(self._axes.items())
            if getattr(self.space[name], "step", None) is not None
        ]
        given = {name: each for name, each in (conditions or {}).items() if name in self._axes}
        self._conditions = [
            condition for name in given for condition in self._of(name, given[name])
        ]

        known = usual if usual and scale == "unit" else {}
        self._usual = [
            self._centres(name, *each.popitem())
            for name, each in ((n, dict(known[n])) for n in self._axes if n in known)
            if getattr(self.space[name], "log", False)
        ]

    def domain(self) -> list[dict[str, Any]]:
        """Return the domain that `GPyOpt.Design_space` takes, one entry per axis."""
        return [{"name": name, **axis.domain()} for name, axis in self._axes.items()]

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Tell whether ``params`` has a value within the distribution of every axis."""
        return all(name in params and a.holds(params[name]) for name, a in self._axes.items())

    def encode(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """Return X of parameter values, shape (len(points), n_axes)."""
        rows = [[a.encode(point[name]) for name, a in self._axes.items()] for point in points]
        X = np.array(rows, dtype=np.float64).reshape(len(points), len(self._axes))
        return self._neutralised(X)

    def decode(self, row: Array) -> dict[str, Any]:
        """Return the parameter values of one row, within their distributions."""
        return {name: a.decode(x) for (name, a), x in zip(self._axes.items(), row, strict=True)}

    def canonical(self, X: Array) -> Array:
        """Return what `encode` makes of the points that the rows of X are decoded to."""
        if not self._rounded and not self._conditions:
            return X
        X = X.copy()
        for column, axis in self._rounded:
            X[:, column] = axis.snap_all(X[:, column])
        return self._neutralised(X)

    def features(self, X: Array) -> Array:
        """Return the rows X as a model compares them: numbers relative to what is usual."""
        if not self._usual:
            return X
        X = X.copy()
        for each in self._usual:
            X[:, each.column] -= each.of(X)
        return self._neutralised(X)

    def near_the_usual(self, row: Array) -> Array:
        """Return a row of the unit cube with its numbers within a decade of what is usual."""
        X = row[None].copy()
        for each in self._usual:
            spread = min(each.decade * _DECADES, 1.0)
            around = each.of(X) + (X[:, each.column] - 0.5) * spread
            X[:, each.column] = np.clip(around, 0.0, 1.0)
        return self._neutralised(X)[0]

    def _centres(self, name: str, other: str, values: Mapping[Any, float]) -> "_Usual":
        """Return the coordinates of the usual values; the middle where none is known."""
        axis, distribution = self._axes[name], cast(Number, self.space[name])
        low, high = distribution.low, distribution.high
        columns = list(self._axes)
        decade = 1.0 / math.log10(high / low)

        def centre(choice: Any) -> float:
            known = values.get(choice)
            return 0.5 if known is None else axis.encode(min(max(known, low), high))

        if other not in self._axes:
            only = centre(None) if None in values else 0.5
            return _Usual(columns.index(name), None, np.array([only]), decade)
        choices = cast(CategoricalDistribution, self.space[other]).choices
        centres = np.array([centre(choice) for choice in choices])
        return _Usual(columns.index(name), columns.index(other), centres, decade)

    def _of(self, name: str, needed: Mapping[str, Sequence[Any]]) -> Iterator[_Condition]:
        """Yield the conditions of an axis on axes that are searched; others always hold."""
        columns = list(self._axes)
        for other, values in needed.items():
            if other in self._axes:
                codes = [self._axes[other].encode(v) for v in values if self._axes[other].holds(v)]
                column, neutral = columns.index(name), self._axes[name].neutral
                yield _Condition(column, neutral, columns.index(other), tuple(codes))

    def _neutralised(self, X: Array) -> Array:
        """Set the coordinates of the axes that do not apply, in place."""
        for each in self._conditions:
            X[~np.isin(X[:, each.other], each.codes), each.column] = each.neutral
        return X


def searched(
    space: Mapping[str, BaseDistribution], conditions: Conditions | None = None
) -> dict[str, BaseDistribution]:
    """Return the part of a space that has more than one value and applies somewhere."""
    return {
        name: each
        for name, each in space.items()
        if not each.single() and not _never((conditions or {}).get(name, {}), space)
    }


def _never(needed: Mapping[str, Sequence[Any]], space: Mapping[str, BaseDistribution]) -> bool:
    """Tell whether a condition asks for another value than the only one of a parameter."""
    single = {name: space[name] for name in needed if name in space and space[name].single()}
    return any(_only_value(each) not in needed[name] for name, each in single.items())


def _only_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return getattr(distribution, "low", None)


def _axis(distribution: BaseDistribution, scale: Scale) -> Axis:
    if isinstance(distribution, CategoricalDistribution):
        return CategoryAxis(distribution)
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return UnitAxis(distribution) if scale == "unit" else RawAxis(distribution)
    raise TypeError(f"no axis is known for {distribution!r}")
