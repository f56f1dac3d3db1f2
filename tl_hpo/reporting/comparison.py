"""Which experiments are compared in figures, and how their titles say so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tl_hpo.reporting import paper
from tl_hpo.reporting.records import Run
from tl_hpo.reporting.tables import best_trial

Row = TypeVar("Row")

LAYER_STEP = "layer"
"""What the name of the step over the delimiting layer contains."""

MOST = 6
"""More panels would not fit a page, nor more lines a panel."""


@dataclass(frozen=True)
class Compared:
    """Experiments that are drawn together.

    Attributes:
        runs: in the order of the names of their folders.
        words: which they are, for a title; empty where there is but one.
    """

    runs: Sequence[Run]
    words: str

    @property
    def named(self) -> dict[str, Run]:
        """The runs by the names of their folders."""
        return {name_of(run): run for run in self.runs}


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


def by_name(runs: Mapping[str, Run], tell: Callable[[Run], list[Row]]) -> dict[str, list[Row]]:
    """Return what ``tell`` says of each run by its name, unless that is nothing."""
    told = {name: tell(run) for name, run in runs.items()}
    return {name: rows for name, rows in told.items() if rows}


def beside_paper(run: Run, related: Sequence[Run]) -> list[paper.Comparison]:
    """Compare with the paper; of several experiments of a strategy, ``run`` or else the best."""
    achieved: dict[str, paper.Achieved] = {}
    ranked = sorted((r for r in related if r.best), key=lambda r: r.best.val_accuracy)  # type: ignore[union-attr]
    for one in (*ranked, run):
        if one.best is not None:
            achieved[one.experiment.strategy] = paper.Achieved(
                accuracy=one.best.val_accuracy,
                f1=one.best.validation.get("f1"),
                before_layers=before_layers(one),
            )
    return paper.comparison_table(run.experiment.dataset, achieved, run.experiment.strategy)


def before_layers(run: Run) -> float | None:
    """Return the best validation accuracy before the layer step, None where there is no such."""
    earlier = [trial for trial in run.searched if LAYER_STEP not in trial.step]
    best = best_trial(earlier) if len(earlier) < len(run.searched) else None
    return best.val_accuracy if best else None


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
