"""Repeats: the best configurations are trained again, for a search's best score flatters.

The highest of many noisy scores is high partly by luck. Trained again with other seeds, a
configuration shows what it is worth; the one with the highest mean is chosen, of those of which
most trainings completed: a mean of what happened to survive flatters.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from optuna.trial import FrozenTrial, TrialState

from tl_hpo.errors import UserError
from tl_hpo.overrides import merged, override
from tl_hpo.search.study import IDENTITY, rank_of, result_of

REPEAT_COLUMNS = (
    "configuration", "step", "number", "seed", "val_accuracy", "state", "mean", "sd", "chosen",
)  # fmt: skip


@dataclass(frozen=True)
class Repeats:
    """How often, and how many.

    Attributes:
        times: trainings of each configuration, each with a seed of its own; 0: none.
        best: configurations, at most.
        held: overrides that keep what else follows the seed, such as the split.

    Raises:
        UserError: a number out of its range.
    """

    times: int = 0
    best: int = 3
    held: Sequence[str] = ()

    def __post_init__(self) -> None:
        for key, value, least in (("repeats", self.times, 0), ("repeat_best", self.best, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(
                    f"search.{key} must be a whole number of at least {least}, got {value!r}."
                )


@dataclass(frozen=True)
class Candidate:
    """A configuration of the search: step and trial that found it."""

    step: str
    trial: FrozenTrial


@dataclass(frozen=True)
class Repeated:
    """What came of a candidate; mean and standard deviation are None where too few completed."""

    candidate: Candidate
    trials: tuple[FrozenTrial, ...]
    mean: float | None
    mean_accuracy: float | None
    sd_accuracy: float | None

    @property
    def n_completed(self) -> int:
        """Return the number of trainings that the mean is over."""
        return len(_completed(self.trials))

    def best(self) -> FrozenTrial:
        """Return the best of its trainings, the first among equals."""
        return max(_completed(self.trials), key=rank_of)


def candidates(trials: Mapping[str, Sequence[FrozenTrial]], n: int) -> list[Candidate]:
    """Return the best ``n`` distinct configurations of a search that ended by themselves."""
    found = [
        Candidate(step, trial)
        for step, of_step in trials.items()
        for trial in of_step
        if trial.state == TrialState.COMPLETE and result_of(trial)
    ]
    found.sort(key=lambda each: rank_of(each.trial), reverse=True)  # stable: the first of equals
    distinct: dict[tuple[str, ...], Candidate] = {}
    for each in found:
        distinct.setdefault(tuple(each.trial.user_attrs[IDENTITY]), each)
    return list(distinct.values())[:n]


def repeat_overrides(overrides: Sequence[str], held: Sequence[str], seed: int) -> list[str]:
    """Return the overrides of a candidate trained with another seed."""
    return merged(overrides, held, [override("seed", seed)])


def repeated(
    found: Sequence[Candidate], trials: Sequence[FrozenTrial], times: int
) -> list[Repeated]:
    """Return what came of each candidate; trial i is training i % times of candidate i // times."""
    result = []
    for index, candidate in enumerate(found):
        own = tuple(t for t in trials if t.number // times == index)
        scores = [result_of(t)["objective"] for t in _completed(own)]
        accuracies = [result_of(t)["val_accuracy"] for t in _completed(own)]
        result.append(
            Repeated(
                candidate,
                own,
                statistics.fmean(scores) if scores else None,
                statistics.fmean(accuracies) if accuracies else None,
                statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            )
        )
    return result


def chosen_of(results: Sequence[Repeated]) -> Repeated | None:
    """Return the candidate with the highest mean objective; None where no training completed.

    One of which fewer trainings completed comes after all others, whatever their mean.
    """
    judged = [each for each in results if each.mean is not None]
    return max(judged, key=lambda each: (each.n_completed, cast(float, each.mean)), default=None)


def rows(results: Sequence[Repeated], seed: int, times: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of repeats.csv; a training's seed is ``seed`` + 1 + its index."""
    chosen = chosen_of(results)
    for index, each in enumerate(results, 1):
        for trial in each.trials:
            yield {
                "configuration": index,
                "step": each.candidate.step,
                "number": each.candidate.trial.number,
                "seed": seed + 1 + trial.number % times,
                "val_accuracy": result_of(trial).get("val_accuracy", ""),
                "state": trial.state.name,
                "mean": "" if each.mean_accuracy is None else each.mean_accuracy,
                "sd": "" if each.sd_accuracy is None else each.sd_accuracy,
                "chosen": str(each is chosen).lower(),
            }


def _completed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state == TrialState.COMPLETE and result_of(t)]
