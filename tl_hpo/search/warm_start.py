"""Warm start: the best configurations of earlier experiments as first trials of a step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from tl_hpo.errors import UserError
from tl_hpo.search.earlier import PHASES, Earlier
from tl_hpo.search.space import Dimension, SearchSpace
from tl_hpo.search.usual_axes import OF_PHASES, USUAL_AXES

Point = dict[str, Any]

_OF_FINE_TUNING = {"delimiting_layer"} | {k for k, (_, p) in OF_PHASES.items() if PHASES[1] in p}
_NAMES = {"lr": "learning rate", "delimiting_layer": "delimiting layer"}


@dataclass(frozen=True)
class Left:
    """Why a configuration has no place in a search, in words; ``kind`` without its numbers."""

    reason: str
    kind: str


class _LeftOutError(Exception):
    """Ends the mapping of a configuration that has no place in a search."""

    def __init__(self, reason: str, kind: str = "") -> None:
        super().__init__(reason)
        self.kind = kind or reason


def first_trials(
    found: Sequence[Earlier], space: SearchSpace, given: Mapping[str, str], n: int
) -> tuple[list[tuple[Point, Earlier]], list[tuple[Earlier, Left]]]:
    """Return the best points of earlier experiments in the space of a step.

    Args:
        found: configurations of earlier experiments, the best first.
        space: of the step.
        given: values of the overrides that all trials of the step share, by their keys.
        n: how many points at most, at least 1.

    Returns:
        Up to ``n`` distinct points, the best first, with the configuration that each is; and the
        better configurations that were left out.

    Raises:
        UserError: ``n`` is out of its range.
    """
    check_warm_trials(n)
    points: list[tuple[Point, Earlier]] = []
    left_out: list[tuple[Earlier, Left]] = []
    for earlier in found:
        point = as_params(earlier, space, given)
        if isinstance(point, Left):
            left_out.append((earlier, point))
        elif all(point != taken for taken, _ in points):
            points.append((point, earlier))
        if len(points) == n:
            break
    return points, left_out


def check_warm_trials(n: Any) -> None:
    """Raise UserError unless ``n`` is a number of trials."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UserError(
            f"search.warm_trials must be a whole number of at least 1, got {n!r}; set "
            "search.warm_start=[] to start without earlier experiments."
        )


def as_params(earlier: Earlier, space: SearchSpace, given: Mapping[str, str]) -> Point | Left:
    """Return the point of a step's space that an earlier configuration is, or why it is none.

    Nothing is bent to fit: a value outside an axis leaves the configuration out. An axis that
    does not apply at the point has its first value.

    Args:
        given: values of the overrides that all trials of the step share, by their keys.
    """
    try:
        _check_given(earlier, space, given)
        params: Point = {}
        # An axis with a condition depends on axes without one.
        for axis in sorted(space.dimensions, key=lambda axis: bool(axis.when)):
            applies = axis.applies(params)
            params[axis.key] = _place(axis, earlier) if applies else _first(axis.distribution)
    except _LeftOutError as left:
        return Left(str(left), left.kind)
    return {key: params[key] for key in space.distributions}


def _check_given(earlier: Earlier, space: SearchSpace, given: Mapping[str, str]) -> None:
    """Leave a configuration out whose values belong with others than those that are given."""
    searched = {key for axis in space.dimensions for key in axis.sets}
    if "model" not in searched:
        _check_model(earlier, given)
    for phase in _phases(searched, "lr") - _phases(searched, "optimizer"):
        _check_optimizer(earlier, phase, given)
    unset = earlier.head_only and given.get("finetune.epochs") != "0"
    if unset and not searched.isdisjoint(_OF_FINE_TUNING):
        raise _LeftOutError("it has no fine-tuning")
    _check_others(earlier, searched, given)


def _check_model(earlier: Earlier, given: Mapping[str, str]) -> None:
    wanted = given.get("model.name") if given.get("model") == "timm" else given.get("model")
    model = earlier.settings["model"]
    if model != _parsed(wanted):
        raise _LeftOutError(f"its model is {model}, but this step holds {wanted} fixed")


def _check_optimizer(earlier: Earlier, phase: str, given: Mapping[str, str]) -> None:
    """Learning rates mean something with their optimizer alone."""
    wanted = given.get(f"optimizer@{phase}.optimizer", given.get("optimizer"))
    optimizer = earlier.settings[f"{phase}_optimizer"]
    if wanted is not None and optimizer != wanted:
        raise _LeftOutError(f"its optimizer is {optimizer}, but this step holds {wanted} fixed")


def _check_others(earlier: Earlier, searched: set[str], given: Mapping[str, str]) -> None:
    """What else the earlier experiment searched must be searched here, or be given as it was."""
    values = earlier.values
    for key in sorted((earlier.axes & values.keys()) - searched - USUAL_AXES):
        if values[key] != given.get(key):
            kind = f"{key} is not searched here"
            raise _LeftOutError(f"{key} {values[key]} is not searched here", kind)


def _phases(keys: set[str], setting: str) -> set[str]:
    """Return the phases whose ``setting`` some of the overrides ``keys`` set."""
    kinds = [OF_PHASES[key] for key in keys if key in OF_PHASES]
    return {phase for kind, phases in kinds if kind == setting for phase in phases}


def _place(axis: Dimension, earlier: Earlier) -> Any:
    """Return the value on an axis that the configuration has."""
    named = [pair for key in axis.sets for pair in _values(key, axis.distribution, earlier)]
    name, value = named[0]
    if any(other != value for _, other in named):
        of_phases = OF_PHASES.keys() >= set(axis.sets)
        differ = f"its phases have {name}s of their own"
        raise _LeftOutError(differ if of_phases else f"its values of {axis.key} differ")
    if isinstance(axis.distribution, CategoricalDistribution):
        if value not in axis.distribution.choices:
            raise _LeftOutError(f"{name} {value} is not among the candidates")
        return axis.distribution.choices[axis.distribution.choices.index(value)]
    return _within(axis.distribution, name, value)


def _within(distribution: BaseDistribution, name: str, value: Any) -> float:
    """Return a number in the bounds of an axis."""
    axis = cast(Any, distribution)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not axis.low <= value <= axis.high:
        outside = f"is outside {axis.low:g} to {axis.high:g}"
        raise _LeftOutError(f"{name} {_short(value)} {outside}", f"{name} {outside}")
    if not isinstance(distribution, IntDistribution):
        return float(value)
    if value != int(value):
        whole = "is not a whole number"
        raise _LeftOutError(f"{name} {_short(value)} {whole}", f"{name} {whole}")
    return int(value)


def _values(
    key: str, distribution: BaseDistribution, earlier: Earlier
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of what an override sets, for each phase that it speaks of."""
    if key == "model":
        yield key, earlier.settings["model"]
    elif key in OF_PHASES:
        setting, phases = OF_PHASES[key]
        for phase in phases:
            yield _NAMES.get(setting, setting), earlier.settings[f"{phase}_{setting}"]
    elif key == "delimiting_layer":
        yield _NAMES[key], _depth(distribution, earlier)
    elif key in earlier.values:
        yield key, _parsed(earlier.values[key])
    else:
        raise _LeftOutError(f"{key} is not among its settings")


def _depth(distribution: BaseDistribution, earlier: Earlier) -> Any:
    """Return the delimiting layer as an axis has it: a number, a share, or as it was written."""
    if isinstance(distribution, IntDistribution):
        return earlier.layer
    if isinstance(distribution, CategoricalDistribution):
        return earlier.settings["delimiting_layer"]
    return earlier.layer / earlier.n_layers


def _first(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return cast(Any, distribution).low


def _parsed(text: str | None) -> Any:
    """Return the value that the text of an override stands for."""
    if text is None:
        return None
    return OverridesParser.create().parse_override(f"value={text}").value()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
