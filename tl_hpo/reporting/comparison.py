"""Which experiments are compared in figures, and how their titles say so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tl_hpo.reporting.records import Run
from tl_hpo.reporting.tables import best_trial

Row = TypeVar("Row")

MOST = 6
"""More panels would not fit a page, nor more lines a panel."""


@dataclass(frozen=True)
class Compared:
    """Experiments that are drawn together.

    Attributes:
        runs: by the name of their folder.
        words: which they are, for a title; empty where there is but one.
    """

    runs: Sequence[Run]
    words: str


def compared(run: Run, related: Sequence[Run]) -> Compared:
    """Return ``run`` and the others with the highest accuracy of their best trial, six in all.

    Others of which no trial has an accuracy are left out.
    """
    found = [run, *(other for other in related if _accuracy(other) is not None)]
    ranked = sorted(found, key=lambda one: -(_accuracy(one) or 0.0))[:MOST]
    among = any(one is run for one in ranked)
    shown = ranked if among else [*ranked[:-1], run]
    return Compared(sorted(shown, key=name_of), _words(found, len(shown), among=among))


def name_of(run: Run) -> str:
    """Return the name of a run's folder."""
    return run.folder.resolve().name


def by_name(runs: Sequence[Run], tell: Callable[[Run], list[Row]]) -> dict[str, list[Row]]:
    """Return what ``tell`` says of each run by the name of its folder, unless that is nothing."""
    told = {name_of(run): tell(run) for run in runs}
    return {name: rows for name, rows in told.items() if rows}


def _accuracy(run: Run) -> float | None:
    best = best_trial(run.searched) if run.searched_epochs else None
    return best.val_accuracy if best else None


def _words(found: Sequence[Run], shown: int, *, among: bool) -> str:
    """Call them experiments where several have the same strategy."""
    strategies = {one.experiment.strategy for one in found}
    kind = "strategies" if len(strategies) == len(found) else "experiments"
    if len(found) == 1:
        return ""
    if shown == len(found):
        return f"all {kind}"
    if among:
        return f"the best {shown} of {len(found)} {kind}"
    return f"this and the best {shown - 1} of {len(found)} {kind}"
