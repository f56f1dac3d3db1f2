"""comparison.html: several experiments as a page."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from tl_hpo.reporting import tables
from tl_hpo.reporting.comparison import beside_paper
from tl_hpo.reporting.groups import FIGURES, Group, overview
from tl_hpo.reporting.markdown import SYNTHETIC, plain
from tl_hpo.reporting.page import time_charts
from tl_hpo.reporting.page.rendering import Section, fill, html_of, section, write_page


def write_comparison_page(groups: Sequence[Group], left_out: Sequence[str], path: Path) -> None:
    """Write the page; ``left_out`` tells which folders could not be read."""
    count = sum(len(group.runs) for group in groups)
    synthetic = [g.name for g in groups if any(r.experiment.synthetic for r in g.runs.values())]
    head = fill(
        "comparison.html.j2",
        count=count,
        datasets=[group.name for group in groups],
        left_out=left_out,
        synthetic=f"{', '.join(synthetic)}: {SYNTHETIC}" if synthetic else "",
    )
    sections = [
        part
        for number, group in enumerate(groups, start=1)
        for part in _sections(group, number, time_charts.MOST_EPOCHS // len(groups))
        if part is not None
    ]
    write_page(path, "Comparison of experiments", head, sections)


def _sections(group: Group, number: int, most_epochs: int) -> list[Section | None]:
    best = group.runs[group.best]
    over_time = _over_time(group, most_epochs)
    others = [run for run in group.runs.values() if run is not best]
    beside = tables.beside_paper(best.experiment.dataset, beside_paper(best, others))
    name = group.name
    return [
        section(f"experiments-{number}", f"{name}: experiments", html_of([overview(group)], name)),
        section(f"paper-{number}", f"{name}: beside the paper", html_of(beside[1:], name)),
        section(f"accuracy-{number}", f"{name}: validation accuracy over time", over_time),
        section(f"best-so-far-{number}", f"{name}: best so far", _best_so_far(group)),
        section(f"classes-{number}", f"{name}: classes", _classes(group)),
    ]


def _over_time(group: Group, most_epochs: int) -> Markup:
    epochs = group.epochs()
    if not epochs:
        return Markup()
    file = f"{FIGURES}/strategies_over_time_{group.file}"
    chart = time_charts.experiments_over_time(epochs, file, most_epochs).html()
    return html_of([_about_drawn(group)]) + chart


def _about_drawn(group: Group) -> str:
    told = "Like the paper's figures 5 and 8: a line per trial, coloured by step."
    return f"{told} Drawn are {group.words}." if group.words else told


def _best_so_far(group: Group) -> Markup:
    stood = group.standings()
    if not stood:
        return Markup()
    charts = time_charts.standing_charts(stood, f"{FIGURES}/best_so_far_{group.file}")
    return fill("beside.html.j2", charts=[chart.html() for chart in charts])


def _classes(group: Group) -> Markup:
    best = group.runs[group.best]
    if best.metrics is None:
        return Markup()
    told = f"Of the best model of all, {plain(group.best)}; like the paper's tables I and II."
    return html_of([told, *tables.per_class(best)], group.name)
