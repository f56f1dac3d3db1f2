"""Stopping rules of a search: its hours are over, or little improvement is left to expect."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tl_hpo.errors import UserError

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Deadline:
    """The time that an experiment may take.

    Attributes:
        max_hours: above 0; None is no limit.
        clock: gives the seconds that the experiment has run for, interruptions excluded.

    Raises:
        UserError: ``max_hours`` is neither.
    """

    max_hours: float | None
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        if self.max_hours is not None and not _is_positive(self.max_hours):
            raise UserError(
                "search.max_hours must be a positive number of hours or null, got "
                f"{self.max_hours!r}; give 0.5 for half an hour, or null for no limit."
            )

    def over(self) -> bool:
        """Tell whether the time is over."""
        return self.max_hours is not None and self.clock() >= self.max_hours * SECONDS_PER_HOUR


@dataclass(frozen=True)
class NegligibleImprovement:
    """A step ends when the improvement that its model expects has stayed negligible.

    Attributes:
        threshold: expected improvements below it are negligible, in the unit of the objective;
            None never ends a step.
        patience: how many proposals in a row, at least 1.

    Raises:
        UserError: an argument is out of its range.
    """

    threshold: float | None
    patience: int = 3

    def __post_init__(self) -> None:
        if self.threshold is not None and not _is_positive(self.threshold):
            raise UserError(
                "search.min_improvement must be a positive number or null, got "
                f"{self.threshold!r}; give 0.001 for a tenth of a percent of accuracy, or null "
                "to run all trials."
            )
        if not isinstance(self.patience, int) or not _is_positive(self.patience):
            raise UserError(
                "search.min_improvement_trials must be a whole number of at least 1, got "
                f"{self.patience!r}; give 3 to wait for three proposals."
            )

    def stops(self, values: Sequence[float | None]) -> bool:
        """Tell whether to propose no further, see ``negligible``."""
        return negligible(values, self.threshold, self.patience)


def negligible(values: Sequence[float | None], threshold: float | None, patience: int) -> bool:
    """Tell whether the last ``patience`` values are all below ``threshold``.

    It depends on the values alone, so an interrupted search decides as an uninterrupted one.

    Args:
        values: the largest expected improvement before each proposal, in order; None where there
            was no model yet, which counts as not negligible, and so does what is not a number.
        threshold: None: nothing is negligible.
        patience: at least 1.
    """
    if threshold is None or len(values) < patience:
        return False
    return all(value is not None and value < threshold for value in values[-patience:])


def _is_positive(value: Any) -> bool:
    """Tell whether a setting is a finite number above 0; YAML may hold anything."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0
