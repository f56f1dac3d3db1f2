"""Search spaces over Hydra overrides.

A space is a table of dimensions; a dimension's key is the override that it sets, unless ``sets``
names others. Read from YAML:

| form | meaning |
|---|---|
| ``{choices: [a, b]}`` | one of the values |
| ``{low: 0.0001, high: 1, log: true}`` | a number, its logarithm searched evenly |
| ``{low: 0, high: n_layers, integer: true}`` | an integer; n_layers is the chosen model's |
| ``{…, when: {optimizer: [sgd, rmsprop]}}`` | applies where other axes have one of these values |
| ``{…, usual: {optimizer: {sgd: 0.01}}}`` | the value that is usual with a choice of another axis |
| ``{range: {low: …, high: …}, …}`` | bounds from elsewhere, such as ``${search.lr}`` |
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tl_hpo.errors import UserError
from tl_hpo.overrides import merged, override, values_of

N_LAYERS = "n_layers"
ALWAYS = ""  # the axis of a usual value that holds at every point
_FORMS = {"choices", "low", "high", "log", "integer", "range", "sets", "usual", "when"}


@dataclass(frozen=True)
class Dimension:
    """One axis of a search.

    Attributes:
        key: its name in the study.
        distribution: its values.
        sets: keys of the overrides that it sets.
        when: values of other axes that it applies with, by their keys; else it sets nothing.
        usual: the value that is usual with each choice of another axis, by that axis' key.
    """

    key: str
    distribution: BaseDistribution
    sets: tuple[str, ...]
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    usual: Mapping[str, Mapping[Any, float]] = field(default_factory=dict)

    def applies(self, params: Mapping[str, Any]) -> bool:
        """Tell whether the axis means anything at a point of the space."""
        return all(params[key] in values for key, values in self.when.items())


@dataclass(frozen=True)
class SearchSpace:
    """The axes of one step, and how a point becomes overrides.

    Attributes:
        models: names that stand for ``model=NAME``; others are timm's, ``model=timm``.
    """

    dimensions: tuple[Dimension, ...]
    models: frozenset[str] = frozenset()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of every axis."""
        return {dimension.key: dimension.distribution for dimension in self.dimensions}

    @property
    def conditions(self) -> dict[str, Mapping[str, tuple[Any, ...]]]:
        """Return what the axes that do not always apply need, by their keys."""
        return {dimension.key: dimension.when for dimension in self.dimensions if dimension.when}

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Return the overrides that a point of the space stands for."""
        return merged(
            text
            for dimension in self.dimensions
            if dimension.applies(params)
            for key in dimension.sets
            for text in self._override(key, params[dimension.key])
        )

    def _override(self, key: str, value: Any) -> list[str]:
        if key == "model" and value not in self.models:
            return ["model=timm", override("model.name", value)]
        return [override(key, value)]

    @property
    def usual(self) -> dict[str, Mapping[str, Mapping[Any, float]]]:
        """Return the usual values of the axes that have some, by their keys."""
        return {dimension.key: dimension.usual for dimension in self.dimensions if dimension.usual}


def parse_space(
    axes: Mapping[str, Mapping[str, Any]],
    *,
    fixed: Collection[str] = (),
    given: Sequence[str] = (),
    decided: Mapping[str, Any] | None = None,
    models: Iterable[str] = (),
    count_layers: Callable[[], int] | None = None,
) -> SearchSpace:
    """Return the space that ``axes`` describes, without what is ``fixed``.

    Args:
        axes: a table by key, see the module.
        fixed: keys that the command line sets.
        given: overrides that hold beside the point; they decide conditions on what is fixed.
        decided: axes that have their value already, by key; conditions may speak of them.
        models: names of the model configs.
        count_layers: tells the number of layers where an axis asks for it.

    Raises:
        UserError: an axis that makes no sense.
    """
    dimensions: list[Dimension] = []
    chosen = decided or {}
    for key, axis in axes.items():
        if not isinstance(axis, Mapping):
            raise UserError(
                f"search space of {key} must have choices, or low and high, got {axis}."
            )
        sets = tuple(axis.get("sets") or (key,))
        if key not in chosen and not any(is_fixed(name, fixed) for name in sets):
            distribution = _distribution(key, axis, count_layers)
            when, usual = _when(key, axis, axes), _usual(key, axis)
            dimensions.append(Dimension(key, distribution, sets, when, usual))
    held = values_of(given) | {key: str(value) for key, value in chosen.items()}
    return SearchSpace(tuple(_under(dimensions, held)), frozenset(models))


def _when(
    key: str, axis: Mapping[str, Any], axes: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[Any, ...]]:
    """Return the condition of an axis, checked against the axes that it speaks of."""
    when = axis.get("when", {})
    if not isinstance(when, Mapping):
        raise UserError(
            f"when of the search space of {key} must name axes and their values, got {when}; "
            "for example when: {optimizer: [sgd]}."
        )
    conditions = {}
    for other, values in when.items():
        wanted = tuple(values) if isinstance(values, (list, tuple)) else (values,)
        known = _choices_of(axes.get(other))
        if not wanted or not all(value in known for value in wanted):
            raise UserError(
                f"when of the search space of {key} must name an axis of choices without a "
                f"condition of its own, and some of its choices, got {other}: {list(wanted)}."
            )
        conditions[str(other)] = wanted
    return conditions


def _usual(key: str, axis: Mapping[str, Any]) -> dict[str, Mapping[Any, float]]:
    """Return the usual values of an axis; a choice without one is as if none were usual.

    A table that is null says that none are, and a value that is null that its choice has none.
    """
    usual = axis.get("usual") or {}
    tables = list(usual.values()) if isinstance(usual, Mapping) else [usual]
    known = [each for each in tables if each is not None]
    if len(tables) > 1 or not all(_are_usual(table) for table in known):
        raise UserError(
            f"usual of the search space of {key} must name one axis and a positive number for "
            f"its choices, got {usual}; for example usual: {{optimizer: {{sgd: 0.01}}}}, or null "
            "for none."
        )
    values = {
        str(other): {choice: value for choice, value in (table or {}).items() if value is not None}
        for other, table in usual.items()
    }
    return {other: table for other, table in values.items() if table}


def _are_usual(table: Any) -> bool:
    """Tell whether a table holds positive numbers, or null, by the choices of an axis."""
    return isinstance(table, Mapping) and all(
        value is None or (isinstance(value, (int, float)) and value > 0) for value in table.values()
    )


def _choices_of(axis: Any) -> list[Any]:
    """Return the choices that a condition may name; none of an axis with its own condition."""
    if not isinstance(axis, Mapping) or axis.get("when"):
        return []
    choices = axis.get("choices")
    return list(choices) if isinstance(choices, (list, tuple)) else []


def _under(dimensions: Sequence[Dimension], held: Mapping[str, str]) -> Iterator[Dimension]:
    """Yield the axes that may apply; their conditions speak of searched axes only."""
    searched = {dimension.key for dimension in dimensions}
    for each in dimensions:
        open_ = {key: values for key, values in each.when.items() if key in searched}
        decided = {key: values for key, values in each.when.items() if key not in searched}
        if all(_value_of(key, held) in [str(v) for v in values] for key, values in decided.items()):
            yield replace(each, when=open_, usual=_usual_under(each.usual, searched, held))


def _usual_under(
    usual: Mapping[str, Mapping[Any, float]], searched: Collection[str], held: Mapping[str, str]
) -> Mapping[str, Mapping[Any, float]]:
    """Return usual values by the choices of a searched axis; of one held fixed, for all points."""
    if not usual or set(usual) <= set(searched):
        return usual
    [(other, values)] = usual.items()
    decided = [value for choice, value in values.items() if str(choice) == _value_of(other, held)]
    return {ALWAYS: {None: decided[0]}} if decided else {}


def _value_of(key: str, held: Mapping[str, str]) -> str | None:
    """Return the text that ``key`` is set to; a phase's optimizer follows ``optimizer``."""
    return held.get(key, held.get(key.partition("@")[0]))


def is_fixed(key: str, fixed: Collection[str]) -> bool:
    """Tell whether what the command line sets, ``fixed``, decides the override ``key``.

    ``optimizer`` decides ``optimizer@head.optimizer``, ``optimizer.lr`` decides
    ``head.optimizer.lr``, ``model.name`` decides ``model``.
    """
    group, _, package = key.partition("@")
    deciders = {key, group}
    if not package and key.endswith(".optimizer.lr"):
        deciders.add("optimizer.lr")
    if key == "model":
        deciders.add("model.name")
    return not deciders.isdisjoint(fixed)


def _distribution(
    key: str, axis: Mapping[str, Any], count_layers: Callable[[], int] | None
) -> BaseDistribution:
    if isinstance(axis.get("range"), Mapping):
        axis = {**axis["range"], **axis}
    unknown = sorted(set(axis) - _FORMS)
    if unknown:
        raise UserError(
            f"search space of {key} must be made of {', '.join(sorted(_FORMS))}, "
            f"got {unknown[0]!r}."
        )
    if "choices" in axis:
        return CategoricalDistribution(_choices(key, axis["choices"]))
    if "low" not in axis or "high" not in axis:
        raise UserError(f"search space of {key} must have choices, or low and high, got {axis}.")
    low, high = (_bound(key, axis[side], count_layers) for side in ("low", "high"))
    log = bool(axis.get("log", False))
    _check_range(key, low, high, log)
    if axis.get("integer"):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _choices(key: str, choices: Any) -> Sequence[Any]:
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not choices:
        raise UserError(
            f"search space of {key} must have at least one choice, got {choices}; "
            "name candidates, or fix it on the command line."
        )
    if any(isinstance(choice, (list, dict)) for choice in choices):
        raise UserError(f"search space of {key} must have plain values as choices, got {choices}.")
    if len(set(choices)) < len(choices):
        raise UserError(f"search space of {key} must name each choice once, got {choices}.")
    wanted = key.rpartition("@")[0] or key
    if wanted in ("model", "optimizer") and not all(isinstance(name, str) for name in choices):
        raise UserError(f"search space of {key} must hold names, got {choices}.")
    return choices


def _bound(key: str, value: Any, count_layers: Callable[[], int] | None) -> float:
    if value == N_LAYERS:
        if count_layers is None:
            raise UserError(f"search space of {key} asks for n_layers where no model is chosen.")
        return count_layers()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UserError(f"search space of {key} must have finite numbers as bounds, got {value}.")
    return value


def _check_range(key: str, low: float, high: float, log: bool) -> None:
    if low > high:
        raise UserError(f"search space of {key} must have low <= high, got {low} > {high}.")
    if log and low <= 0:
        raise UserError(f"search space of {key} must be positive to have log: true, got {low}.")
    if key.endswith("optimizer.lr") and low <= 0:
        raise UserError(f"search space of {key} must hold positive learning rates, got {low}.")
