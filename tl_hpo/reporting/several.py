"""Several experiments side by side: the strategies on each dataset, and the datasets."""

import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tl_hpo.errors import UserError
from tl_hpo.reporting import tables
from tl_hpo.reporting.figures import best_so_far, strategies_over_time
from tl_hpo.reporting.groups import FIGURES, Group, groups_of
from tl_hpo.reporting.making import Task, made
from tl_hpo.reporting.page.comparison_page import write_comparison_page
from tl_hpo.reporting.records import Run, read_run

log = logging.getLogger(__name__)

COMPARISON_FILE = "comparison.html"


def write_comparison(folders: Sequence[Path], output: Path | None = None) -> list[Path]:
    """Write a page that compares experiments, and its figures.

    Args:
        folders: run folders; one that cannot be read is logged and left out.
        output: folder for the page; by default the one that all have in common.

    Returns:
        The files written, the page last.

    Raises:
        UserError: none of the folders can be read.

    """
    distinct = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    runs, left_out = _readable(distinct)
    if not runs:
        raise UserError(
            f"At least one of {len(left_out)} run folders must be readable, got none. {left_out[0]}"
        )
    for text in left_out:
        log.warning("Left out of the comparison: %s", text)
    target = output or Path(os.path.commonpath([run.folder.parent for run in runs]))
    groups = groups_of(runs)
    tasks = [task for group in groups for task in _files(group, target / FIGURES)]
    page = partial(write_comparison_page, groups, left_out)
    return made([*tasks, (target / COMPARISON_FILE, page)])


def _readable(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    runs, left_out = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except UserError as error:
            left_out.append(str(error))
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
    if best.metrics is not None:
        rows = partial(tables.write_per_class, best.metrics.validation, best.experiment.classes)
        yield folder / f"per_class_{group.file}.csv", rows
