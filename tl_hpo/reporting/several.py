"""Several experiments side by side: the strategies on each dataset, and the datasets."""

import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tl_hpo.errors import UserError
from tl_hpo.reporting import tables
from tl_hpo.reporting.figures import best_so_far, strategies_over_time
from tl_hpo.reporting.files import names_of, side_suffix
from tl_hpo.reporting.groups import FIGURES, Group, groups_of
from tl_hpo.reporting.making import Task, made
from tl_hpo.reporting.page.comparison_page import write_comparison_page
from tl_hpo.reporting.records import Run, is_run_folder, read_run

OTHERS = (FIGURES, "train", "audit")
"""Folders beside run folders: figures of a comparison, and what the other commands write."""

log = logging.getLogger(__name__)

COMPARISON_FILE = "comparison.html"


def write_comparison(folders: Sequence[Path], output: Path | None = None) -> list[Path]:
    """Write a page that compares experiments, and its figures.

    Args:
        folders: run folders; one that cannot be read is logged and left out. Files, and what
            else lies beside run folders, are not looked at, so that ``runs/kvasir/*`` may be
            given.
        output: folder for the page; by default the one that all have in common.

    Returns:
        The files written, the page last.

    Raises:
        UserError: none of the folders can be read.

    """
    resolved = dict.fromkeys(Path(folder).resolve() for folder in folders)
    distinct = [folder for folder in resolved if not _is_beside(folder)]
    runs, left_out = _readable(distinct)
    if not runs:
        first = next(iter(left_out.values()), "Name folders that optimize.py wrote to.")
        raise UserError(
            f"At least one of {len(distinct)} run folders must be readable, got none. {first}"
        )
    for text in left_out.values():
        log.warning("Left out of the comparison: %s", text)
    target = output or Path(os.path.commonpath([run.folder.parent for run in runs]))
    groups = groups_of(runs)
    tasks = [task for group in groups for task in _files(group, target / FIGURES)]
    names = dict(zip(distinct, names_of(distinct), strict=True))
    told = [text.replace(str(folder), names[folder]) for folder, text in left_out.items()]
    page = partial(write_comparison_page, groups, told)
    return made([*tasks, (target / COMPARISON_FILE, page)])


def _is_beside(folder: Path) -> bool:
    """Tell whether it is what a pattern like ``runs/kvasir/*`` takes in beside run folders."""
    return folder.is_file() or (folder.name in OTHERS and not is_run_folder(folder))


def _readable(folders: Sequence[Path]) -> tuple[list[Run], dict[Path, str]]:
    """Return what can be read, and of each other folder why not."""
    runs, left_out = [], {}
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except UserError as error:
            left_out[folder] = str(error)
    return runs, left_out


def _files(group: Group, folder: Path) -> Iterator[Task]:
    """Yield the figures like the paper's 5 and 8, and its tables I and II, one of each a group."""
    about = f"{group.words}, {group.name}" if group.words else group.name
    epochs, stood = group.epochs(), group.standings()
    if epochs:
        title = f"Validation accuracy over time, {about}"
        draw = partial(strategies_over_time.draw, epochs, title=title)
        yield folder / f"strategies_over_time_{group.file}.png", draw
    if group.best in stood:
        title = f"Best validation accuracy so far, {about}"
        draw = partial(best_so_far.draw, stood, group.best, title=title)
        yield folder / f"best_so_far_{group.file}.png", draw
    best = group.runs[group.best]
    for side, metrics in best.metrics.sides().items() if best.metrics else ():
        rows = partial(tables.write_per_class, metrics, best.experiment.classes)
        yield folder / f"per_class_{group.file}{side_suffix(side)}.csv", rows
