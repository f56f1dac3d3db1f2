"""What ends a search before its trials are done: the time, or nothing left to hope for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tl_hpo.errors import UserError
from tl_hpo.search.stopping import negligible

HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class Limits:
    """Limits of an experiment; those that are None do not hold.

    Attributes:
        max_hours: that an experiment may run for before its last trial begins, interruptions not
            counted.
        min_improvement: of the objective. A step ends when what its next trial can be expected to
            improve was below that before ``min_improvement_trials`` proposals in a row.

    Raises:
        UserError: a limit makes no sense.
    """

    max_hours: float | None = None
    min_improvement: float | None = None
    min_improvement_trials: int = 3

    def __post_init__(self) -> None:
        _check("search.max_hours", self.max_hours, "a positive number of hours")
        _check("search.min_improvement", self.min_improvement, "a positive accuracy such as 0.001")
        patience = self.min_improvement_trials
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise UserError(
                "search.min_improvement_trials must be a whole number of at least 1, got "
                f"{patience!r}; leave it out for 3."
            )

    def reason(self, seconds: float, expected: Sequence[float | None]) -> str:
        """Return why a step ends now, or nothing.

        Args:
            seconds: that the experiment has run for.
            expected: improvement expected of each trial of the step, the next one's last.

        """
        if self.is_over(seconds):
            return f"search.max_hours={self.max_hours} are over"
        if self.min_improvement is None:
            return ""
        if negligible(expected, self.min_improvement, self.min_improvement_trials):
            return (
                f"the next trial can be expected to gain {expected[-1]:.2g}, less than "
                f"search.min_improvement={self.min_improvement}"
            )
        return ""

    def is_over(self, seconds: float) -> bool:
        """Tell whether the experiment's time is up."""
        return self.max_hours is not None and seconds >= self.max_hours * HOUR


def _check(key: str, value: Any, rule: str) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < float("inf"):
        raise UserError(f"{key} must be {rule} or null for none, got {value!r}.")
