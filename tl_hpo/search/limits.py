"""The limits of an experiment, and why a step ends at one of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tl_hpo.search.stopping import Deadline, NegligibleImprovement


@dataclass(frozen=True)
class Limits:
    """What ends a search before its trials are done; a limit that is None does not hold.

    Attributes:
        max_hours: that an experiment may run for before its last trial begins, interruptions not
            counted; the first trial of all runs in any case, for there to be a result.
        min_improvement: of the objective, that the next trial of a step must promise.
        min_improvement_trials: proposals in a row that promise less, until the step ends.
        begun: tells whether the experiment has begun a trial.

    Raises:
        UserError: a limit makes no sense.
    """

    max_hours: float | None = None
    min_improvement: float | None = None
    min_improvement_trials: int = 3
    begun: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self.is_over(0.0)
        self._improvement()

    def is_over(self, seconds: float) -> bool:
        """Tell whether an experiment that has run for ``seconds`` is out of time."""
        return Deadline(self.max_hours, lambda: seconds).over()

    def reason(self, seconds: float, expected: Sequence[float | None]) -> str:
        """Return why a step ends now, or nothing.

        Args:
            seconds: that the experiment has run for.
            expected: improvement expected of each trial of the step, the next one's last.

        """
        if self.is_over(seconds) and self.begun():
            return self.out_of_time()
        if self._improvement().stops(expected):
            return (
                f"its next trial can be expected to gain {expected[-1]:.2g}, less than "
                f"search.min_improvement={self.min_improvement}"
            )
        return ""

    def out_of_time(self) -> str:
        """Return in words that the hours are over."""
        return f"search.max_hours={self.max_hours} are over"

    def _improvement(self) -> NegligibleImprovement:
        return NegligibleImprovement(self.min_improvement, self.min_improvement_trials)
