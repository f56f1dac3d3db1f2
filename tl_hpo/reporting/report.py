"""All tables and figures that the files of a run folder allow."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tl_hpo.errors import UserError
from tl_hpo.reporting import importance, model_card, paper, tables
from tl_hpo.reporting.axes import axes_of
from tl_hpo.reporting.best_so_far import standings, write_best_so_far
from tl_hpo.reporting.comparison import Compared, beside_paper, by_name, compared, name_of
from tl_hpo.reporting.figures import (
    accuracy_over_time,
    acquisition,
    best_so_far,
    class_examples,
    confusion_matrix,
    convergence,
    delimiting_layer,
    leakage_pairs,
    mistaken_pairs,
    slices,
    strategies_over_time,
)
from tl_hpo.reporting.figures import importance as importance_figure
from tl_hpo.reporting.files import side_suffix, step_file
from tl_hpo.reporting.leakage import FIGURE
from tl_hpo.reporting.making import Task, made
from tl_hpo.reporting.network import Network, network_of
from tl_hpo.reporting.page.report_page import REPORT_FILE, write_report_page
from tl_hpo.reporting.records import Run, read_run
from tl_hpo.search.slices import Slice

log = logging.getLogger(__name__)


def write_report(
    run_folder: Path, lines: Mapping[str, Sequence[Slice]] | None = None
) -> list[Path]:
    """Write the tables, the figures and the page of an experiment into its run folder.

    What fails is logged with its reason and does not stop the others; what is there from an
    earlier call is then left as it is, and so are acquisition figures without ``lines``.

    Args:
        run_folder: where optimize.py wrote; other strategies of the dataset are looked for beside
            it.
        lines: for each step, what the figure of its acquisition shows.

    Returns:
        The files written, the page last.

    Raises:
        UserError: the folder is no run folder, or one of its files cannot be understood.

    """
    run = read_run(run_folder)
    related = _related(run)
    chosen, beside = compared(run, related), beside_paper(run, related)
    network = network_of(run)
    tasks: list[Task] = [
        *_tables(run, beside),
        *_figures(run),
        *_step_figures(run, lines or {}),
        *_search_figures(run, chosen, network),
        (
            run.folder / REPORT_FILE,
            partial(write_report_page, run, beside, chosen, network),
        ),
    ]
    return made(tasks)


def _related(run: Run) -> list[Run]:
    """Return the experiments beside this one that are on the same images and classes."""
    folder = run.folder.resolve()
    others = _runs(path for path in sorted(folder.parent.iterdir()) if path != folder)
    return [other for other in others if other.experiment.images == run.experiment.images]


def _runs(folders: Iterator[Path] | Sequence[Path]) -> list[Run]:
    found = []
    for folder in folders:
        if not (folder / "curves.csv").is_file():
            continue
        try:
            found.append(read_run(folder))
        except UserError as error:
            log.warning("Left out of the comparison: %s", error)
    return found


def _tables(run: Run, beside: Sequence[paper.Comparison]) -> Iterator[Task]:
    if run.metrics is not None:
        for side, metrics in run.metrics.sides().items():
            make = partial(tables.write_per_class, metrics, run.experiment.classes)
            yield run.folder / f"per_class{side_suffix(side)}.csv", make
    yield run.folder / "summary.md", partial(tables.write_summary, run, beside)
    if model_card.is_possible(run):
        yield model_card.path_of(run), partial(model_card.write_card, run)


def _figures(run: Run) -> Iterator[Task]:
    folder, classes, root = run.folder / "figures", run.experiment.classes, run.root
    if run.searched_epochs:
        title = _title(run, "Validation accuracy over time")
        yield (
            folder / "accuracy_over_time.png",
            partial(accuracy_over_time.draw, run.searched_epochs, title=title),
        )
    if run.metrics is not None:
        for side, metrics in run.metrics.sides().items():
            title = _title(run, f"Confusion matrix, {side} side")
            draw = partial(confusion_matrix.draw, metrics.confusion, classes, title=title)
            yield folder / f"confusion_matrix{side_suffix(side)}.png", draw
    if run.split and root is not None:
        title = _title(run, "Examples of each class", strategy=False)
        examples = partial(class_examples.draw, run.split, classes, root, title=title)
        yield folder / "class_examples.png", examples
    if run.audit is not None and root is not None:
        title = _title(run, leakage_pairs.TITLE, strategy=False)
        yield run.folder / FIGURE, partial(leakage_pairs.draw, run.audit, root, title=title)
    if root is not None:
        for side, rows in run.judged.items():
            title = _title(run, f"Classes taken for each other, {side} side")
            pairs = partial(mistaken_pairs.draw, rows, root, title=title)
            yield folder / f"mistaken_pairs{side_suffix(side)}.png", pairs


def _search_figures(run: Run, chosen: Compared, network: Network | None) -> Iterator[Task]:
    """Yield what tells of the search as a whole, beside the other strategies of the dataset."""
    folder = run.folder / "figures"
    beside, alone = f", {chosen.words}" if chosen.words else "", not chosen.words
    stood = by_name(chosen.named, standings)
    if name_of(run) in stood:
        yield run.folder / "best_so_far.csv", partial(write_best_so_far, stood[name_of(run)])
        title = _title(run, f"Best validation accuracy so far{beside}", strategy=alone)
        draw = partial(best_so_far.draw, stood, name_of(run), title=title)
        yield folder / "best_so_far.png", draw
    epochs = by_name(chosen.named, lambda one: one.searched_epochs)
    if len(epochs) > 1:
        title = _title(run, f"Validation accuracy over time{beside}", strategy=False)
        together = partial(strategies_over_time.draw, epochs, title=title)
        yield folder / "strategies_over_time.png", together
    if run.importances:
        counts = importance.scored_trials(run)
        title = _title(run, "What mattered")
        bars = partial(importance_figure.draw, run.importances, title=title, trials=counts)
        yield folder / "importance.png", bars
    if network is not None:
        title = _title(run, f"Delimiting layer of {network.model}")
        draw = partial(delimiting_layer.draw, network, title=title)
        yield folder / "delimiting_layer.png", draw


def _step_figures(run: Run, lines: Mapping[str, Sequence[Slice]]) -> Iterator[Task]:
    folder = run.folder / "figures"
    for step, own in tables.steps_of(run.searched).items():
        asked = [trial for trial in own if trial.state != "RUNNING"]
        if asked:
            title = _title(run, f"Convergence of step {step}")
            points = convergence.scaled_points(asked)
            draw = partial(convergence.draw, asked, title=title, points=points)
            yield folder / f"convergence_{step_file(step)}.png", draw
        scored = [trial for trial in own if trial.scored]
        if axes_of(scored):
            title = _title(run, f"Accuracy by hyperparameter, step {step}")
            yield (
                folder / f"slices_{step_file(step)}.png",
                partial(slices.draw, scored, title=title),
            )
    for step, of_step in lines.items():
        if of_step:
            title = _title(run, f"Model and acquisition of step {step}")
            path = folder / f"acquisition_{step_file(step)}.png"
            yield path, partial(acquisition.draw, of_step, title=title)


def _title(run: Run, what: str, strategy: bool = True) -> str:
    parts = [what, run.experiment.dataset]
    if strategy:
        parts.append(f"strategy {run.experiment.strategy}")
    return " · ".join([*parts, "synthetic images"] if run.experiment.synthetic else parts)
