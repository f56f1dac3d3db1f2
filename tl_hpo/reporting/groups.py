"""Experiments that are compared, by the images that they are on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tl_hpo.reporting import tables
from tl_hpo.reporting.best_so_far import Standing, standings
from tl_hpo.reporting.comparison import before_layers, by_name, compared
from tl_hpo.reporting.files import names_of, step_file
from tl_hpo.reporting.markdown import number, plain, table
from tl_hpo.reporting.records import Epoch, Run
from tl_hpo.reporting.sides import with_interval

FIGURES = "comparison"
HEADER = (
    "experiment",
    "best model",
    "test accuracy",
    "validation accuracy",
    "before the layer step",
    "validation F1",
    "trials",
    "hours",
)


@dataclass(frozen=True)
class Group:
    """Experiments on the same images.

    Attributes:
        name: of their dataset; with its folder where another group has the same.
        runs: by their names, the folder's or as much of the path as tells them apart.
        best: name of the one with the highest validation accuracy.
        drawn: names of those in the figures, at most six.
        words: which those are.
    """

    name: str
    runs: dict[str, Run]
    best: str
    drawn: Sequence[str]
    words: str

    @property
    def file(self) -> str:
        """What its files are called by."""
        return step_file(self.name)

    def epochs(self) -> dict[str, list[Epoch]]:
        """Return the epochs of the search of each that is drawn and has any, by name."""
        return by_name(self._drawn, lambda run: run.searched_epochs)

    def standings(self) -> dict[str, list[Standing]]:
        """Return how the search stood after each trial, of each that is drawn and has any."""
        return by_name(self._drawn, standings)

    @property
    def _drawn(self) -> dict[str, Run]:
        return {name: self.runs[name] for name in self.drawn}


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """Return the experiments by the images and classes that they are on."""
    by_images: dict[tuple[str, str, frozenset[str]], list[Run]] = {}
    for run in runs:
        by_images.setdefault(run.experiment.images, []).append(run)
    same = Counter(dataset for dataset, _, _ in by_images)
    groups = []
    for index, ((dataset, _, _), own) in enumerate(by_images.items(), start=1):
        name = dataset if same[dataset] == 1 else f"{dataset} ({index})"
        groups.append(_group(name, own))
    return groups


def _group(name: str, runs: Sequence[Run]) -> Group:
    named = dict(zip(names_of([run.folder for run in runs]), runs, strict=True))
    ranked = sorted(named, key=lambda own: -_accuracy(named[own]))
    best = named[ranked[0]]
    chosen = compared(best, [run for run in runs if run is not best])
    drawn = [own for own, run in named.items() if any(run is one for one in chosen.runs)]
    return Group(name, named, ranked[0], drawn, chosen.words)


def _accuracy(run: Run) -> float:
    return run.best.val_accuracy if run.best else -1.0


def overview(group: Group) -> str:
    """Return a row per experiment as a Markdown table, those with the highest accuracy first."""
    ranked = sorted(group.runs.items(), key=lambda each: -_accuracy(each[1]))
    return table(HEADER, [_row(name, run) for name, run in ranked])


def _row(name: str, run: Run) -> list[str]:
    hours = sum(trial.seconds or 0.0 for trial in run.trials) / 3600
    count = [str(len(run.searched)), f"{hours:.2f}"]
    best = run.best
    if best is None:
        return [plain(name), "", tables.UNFINISHED, "", "", "", *count]
    trial = run.best_trial
    sides = run.metrics.sides() if run.metrics else {}
    bounds = {side: metrics.intervals.get("accuracy") for side, metrics in sides.items()}
    return [
        plain(name),
        plain(trial.model) if trial else "",
        with_interval((best.test or {}).get("accuracy"), bounds.get("test")),
        with_interval(best.validation.get("accuracy"), bounds.get("validation")),
        number(before_layers(run)),
        number(best.validation.get("f1")),
        *count,
    ]
