"""Cross-validation: what the folds of one experiment, each in a run folder of its own, come to."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tl_hpo.reporting.markdown import table
from tl_hpo.reporting.records import Run, read_run
from tl_hpo.search.guard import CONFIG_FILE, read_configuration
from tl_hpo.training.intervals import Interval, intervals, resampled
from tl_hpo.training.metrics import HEADLINE, headline, summarise

FOLD = re.compile(r"(?P<experiment>.+)-fold(?P<number>\d+)")


@dataclass(frozen=True)
class Folds:
    """The folds that are finished.

    Attributes:
        validation: headline metrics of each fold's best model, by number of the fold.
        test: the same of its test side.
        images: number of images that were tested on, each in one fold.
        pooled: headline metrics over all of them.
        bounds: 95 % bootstrap intervals of ``pooled``, drawn by group.

    """

    validation: dict[int, dict[str, float]]
    test: dict[int, dict[str, float]]
    images: int
    pooled: dict[str, float]
    bounds: dict[str, Interval]

    def mean(self, side: dict[int, dict[str, float]], name: str) -> float:
        """Return the mean of a metric over the folds."""
        return statistics.fmean(each[name] for each in side.values())

    def spread(self, side: dict[int, dict[str, float]], name: str) -> float:
        """Return the standard deviation of a metric over the folds."""
        return statistics.stdev(each[name] for each in side.values())


def find_folds(run: Run) -> Folds | None:
    """Return what the folds beside ``run`` come to, itself included; None for fewer than two.

    Folds are folders that differ in the number behind ``-fold`` alone, and whose configurations
    differ in ``split.fold`` alone. One that is not finished is left out.
    """
    matched = FOLD.fullmatch(run.folder.resolve().name)
    if matched is None:
        return None
    runs = {}
    for folder in sorted(run.folder.resolve().parent.iterdir()):
        found = FOLD.fullmatch(folder.name)
        if found and found["experiment"] == matched["experiment"] and _is_finished(folder):
            runs[int(found["number"])] = read_run(folder)
    own = _configuration(run.folder)
    same = {
        number: fold
        for number, fold in sorted(runs.items())
        if _configuration(fold.folder) == own and fold.experiment.classes == run.experiment.classes
    }
    tested = {n: r for n, r in same.items() if r.best is not None and r.best.test is not None}
    return _of(tested) if len(tested) > 1 and _are_apart(tested) else None


def _configuration(folder: Path) -> Any:
    """Return what folds of one cross-validation share; None where nothing is known of it."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    config = read_configuration(path)
    return {**config, "split": {k: v for k, v in config["split"].items() if k != "fold"}}


def _are_apart(runs: dict[int, Run]) -> bool:
    """Tell whether no image was tested on twice."""
    tested = [row.path for run in runs.values() for row in run.predictions if row.side == "test"]
    return len(tested) == len(set(tested))


def section(run: Run) -> list[str]:
    """Return paragraphs of Markdown on all folds; none where ``run`` is no fold among others."""
    folds = find_folds(run)
    if folds is None:
        return []
    sides = {"validation": folds.validation, "test": folds.test}
    rows = [
        [str(fold), *(f"{side[fold]['accuracy']:.4f}" for side in sides.values())]
        for fold in folds.test
    ]
    rows.append(
        ["mean and standard deviation"]
        + [
            f"{folds.mean(side, 'accuracy'):.4f} ± {folds.spread(side, 'accuracy'):.4f}"
            for side in sides.values()
        ]
    )
    pooled = [
        [name, f"{folds.pooled[name]:.4f} [{low:.4f}, {high:.4f}]"]
        for name, (low, high) in folds.bounds.items()
    ]
    return [
        "## Folds",
        table(["fold", "validation accuracy", "test accuracy"], rows),
        f"Over the {folds.images} test images of these {len(folds.test)} folds together, with "
        "95 % bootstrap intervals by group:",
        table(["metric", "test"], pooled),
    ]


def _is_finished(folder: Path) -> bool:
    return (folder / "best.json").is_file() and (folder / "predictions.csv").is_file()


def _of(runs: dict[int, Run]) -> Folds:
    predicted, target, groups = _pooled(list(runs.values()))
    classes = len(next(iter(runs.values())).experiment.classes)
    drawn = resampled(predicted, target, classes, groups)
    bests = {number: run.best for number, run in runs.items() if run.best is not None}
    return Folds(
        validation={number: dict(best.validation) for number, best in bests.items()},
        test={number: dict(best.test or {}) for number, best in bests.items()},
        images=len(target),
        pooled=headline(summarise(predicted, target, classes)),
        bounds=intervals(drawn, HEADLINE),
    )


def _pooled(runs: Sequence[Run]) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Return prediction, class and group of every image on the test side of one of the runs."""
    number = {name: index for index, name in enumerate(runs[0].experiment.classes)}
    rows = [row for run in runs for row in run.predictions if row.side == "test"]
    group_of = {row.path: row.group or row.path for row in runs[0].split}
    return (
        torch.tensor([number[row.predicted] for row in rows]),
        torch.tensor([number[row.label] for row in rows]),
        [group_of.get(row.path, row.path) for row in rows],
    )
