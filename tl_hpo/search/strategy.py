"""Strategies: ordered steps of optimisation, read from conf/strategy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tl_hpo.errors import UserError, unknown
from tl_hpo.search.study import REPEATS

_STEP_KEYS = ("name", "trials", "space", "each", "overrides", "inherits", "head_from")


@dataclass(frozen=True)
class Step:
    """One Bayesian optimisation: a study of its own.

    Attributes:
        trials: number of trials.
        space: its axes, as ``tl_hpo.search.space`` reads them.
        each: axis of choices that has an optimisation of its own for every choice; they share the
            trials, and the worse half is dropped again and again (`tl_hpo.search.halving`).
        overrides: set in its trials alone, by key; never inherited.
        inherits: step whose best configuration it starts from.
        head_from: step whose best trial trained the classification block to start from.
    """

    name: str
    trials: int
    space: Mapping[str, Mapping[str, Any]]
    each: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    inherits: str | None = None
    head_from: str | None = None

    def study_of(self, choice: Any) -> str:
        """Return the name of the study of one choice of ``each``."""
        return f"{self.name}-{choice}"

    def studies(self) -> list[str]:
        """Return the names of all studies that the step may have."""
        choices = self.space[self.each]["choices"] if self.each else []
        return [self.name, *(self.study_of(choice) for choice in choices)]


@dataclass(frozen=True)
class Strategy:
    """An ordered list of steps."""

    name: str
    steps: tuple[Step, ...]

    def studies(self) -> list[str]:
        """Return the names of all studies that the strategy may have."""
        return [name for step in self.steps for name in step.studies()]


def parse_strategy(config: Mapping[str, Any]) -> Strategy:
    """Return the strategy that a resolved config of conf/strategy describes.

    Raises:
        UserError: it makes no sense.
    """
    name, steps = config.get("name"), config.get("steps")
    if not name or not steps:
        raise UserError(f"a strategy must have a name and steps, got {dict(config)}.")
    parsed: list[Step] = []
    for step in steps:
        parsed.append(_parse_step(step, [earlier.name for earlier in parsed]))
    _check_studies(parsed)
    return Strategy(str(name), tuple(parsed))


def _check_studies(steps: Sequence[Step]) -> None:
    """Refuse steps of which two studies would be one: their trials would count for both."""
    taken = {REPEATS: "search.repeats"}
    for step in steps:
        for study in step.studies():
            if study in taken:
                raise UserError(
                    f"each study of a strategy must have a name of its own, got {study!r} for "
                    f"step {step.name} and for {taken[study]}; rename a step or a "
                    "choice (a step with each: AXIS has a study STEP-CHOICE for every choice)."
                )
            taken[study] = f"step {step.name}"


def _parse_step(step: Mapping[str, Any], earlier: Sequence[str]) -> Step:
    for key in step:
        if key not in _STEP_KEYS:
            raise unknown("a step's setting", str(key), _STEP_KEYS)
    name, trials = str(step.get("name", "")), step.get("trials")
    if not name or name in earlier:
        raise UserError(f"a step must have a name of its own, got {name!r}.")
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise UserError(
            f"the trials of step {name} must be an integer of at least 1, got {trials}; "
            "set search.n_trials and search.layer_trials."
        )
    if not step.get("space"):
        raise UserError(f"step {name} must have a search space, got none.")
    _check_each(name, step.get("each"), step["space"])
    for key in ("inherits", "head_from"):
        if step.get(key) is not None and step[key] not in earlier:
            raise UserError(f"{key} of step {name} must name an earlier step, got {step[key]!r}.")
    return Step(
        name=name,
        trials=trials,
        space=step["space"],
        each=step.get("each"),
        overrides=step.get("overrides") or {},
        inherits=step.get("inherits"),
        head_from=step.get("head_from"),
    )


def _check_each(name: str, each: Any, space: Mapping[str, Any]) -> None:
    if each is None:
        return
    axis = space.get(each)
    table = axis if isinstance(axis, Mapping) else {}
    if not isinstance(table.get("choices"), (list, tuple)) or table.get("when"):
        raise UserError(
            f"each of step {name} must name an axis of its space that has choices and always "
            f"applies, got {each!r}; name another axis, or leave each out."
        )
