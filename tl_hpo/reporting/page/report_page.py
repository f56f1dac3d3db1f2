"""report.html: one experiment as a page."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from tl_hpo.reporting import importance, paper, repeats, tables, use, warm_start
from tl_hpo.reporting.best_so_far import standings
from tl_hpo.reporting.comparison import Compared, by_name
from tl_hpo.reporting.files import step_file
from tl_hpo.reporting.markdown import plain
from tl_hpo.reporting.network import Network
from tl_hpo.reporting.page import pictures, search_charts, time_charts
from tl_hpo.reporting.page.charts import Chart
from tl_hpo.reporting.page.confusion import confusion
from tl_hpo.reporting.page.limits import MOST_TRIALS
from tl_hpo.reporting.page.provenance import provenance
from tl_hpo.reporting.page.rendering import Section, fill, html_of, section, titled, write_page
from tl_hpo.reporting.page.thumbnails import Thumbnails
from tl_hpo.reporting.page.top import top
from tl_hpo.reporting.page.trials import steps_section, trials
from tl_hpo.reporting.records import Run

REPORT_FILE = "report.html"


def write_report_page(
    run: Run,
    beside: Sequence[paper.Comparison],
    chosen: Compared,
    network: Network | None,
    path: Path,
) -> None:
    """Write the report of ``run``, everything that its files allow.

    Args:
        run: the experiment.
        beside: its figures and the paper's; empty where the paper has none.
        chosen: it and the experiments that are drawn with it.
        network: what the delimiting layers are drawn along; None where no trial has one.
        path: of the page.

    """
    name = run.experiment
    images = Thumbnails(run.root)
    shown = [part for part in _sections(run, chosen, network, images) if part is not None]
    title = f"{name.dataset}, strategy {name.strategy}: report"
    write_page(path, title, top(run, beside), shown)


def _sections(
    run: Run, chosen: Compared, network: Network | None, images: Thumbnails
) -> list[Section | None]:
    """Return the sections in the order of the page; images are made in that of their worth."""
    mistaken = pictures.mistaken(run, images)
    examples = pictures.examples(run, images)
    leaking = pictures.leaking(run.audit, images)
    matrix = confusion(run, images)
    missing = html_of([images.told()])
    return [
        *_search(run, chosen, network),
        titled("classes", ["## Classes", *tables.per_class(run)] if run.metrics else []),
        _with(matrix, missing),
        mistaken,
        examples,
        titled("split", tables.split(run, pairs=False), leaking),
        titled("calibration", use.calibration(run)),
        titled("speed", use.speed(run)),
        steps_section(run),
        trials(run),
        titled("repeats", repeats.section(run)),
        titled("warm-start", warm_start.section(run)),
        provenance(run),
    ]


def _with(part: Section | None, more: Markup) -> Section | None:
    return part and section(part.identity, part.title, part.body, more)


def _search(run: Run, chosen: Compared, network: Network | None) -> Iterator[Section | None]:
    """Yield what tells of the search."""
    if run.searched_epochs:
        chart = time_charts.accuracy_over_time(run.searched_epochs, "figures/accuracy_over_time")
        yield section("accuracy", "Validation accuracy over time", chart.html())
    stood = by_name(chosen.named, standings)
    if stood:
        title = "Best so far" + (f", {chosen.words}" if chosen.words else "")
        charts = time_charts.standing_charts(stood, "figures/best_so_far")
        yield section("best-so-far", title, _side_by_side(charts))
    yield _mattered(run)
    if network is not None:
        yield section(
            "delimiting-layer",
            "Delimiting layer",
            html_of([_about_network(run, network)]),
            search_charts.delimiting_layer(network, "figures/delimiting_layer").html(),
        )


def _side_by_side(charts: Sequence[Chart]) -> Markup:
    return fill("beside.html.j2", charts=[chart.html() for chart in charts])


def _mattered(run: Run) -> Section | None:
    blocks = importance.section(run)
    parts = [html_of(blocks[1:], "What mattered")]
    if run.importances:
        counts = importance.scored_trials(run)
        parts.insert(0, search_charts.importances(run.importances, counts).html())
    steps = tables.steps_of(run.searched)
    most = MOST_TRIALS // max(1, len(steps))  # of all charts together
    for step, own in steps.items():
        file = f"figures/slices_{step_file(step)}"
        chart = search_charts.slices(step, own, file, most)
        if chart is not None:
            parts += [fill("heading.html.j2", title=f"Slices of step {step}"), chart.html()]
    return section("mattered", "What mattered", *parts)


def _about_network(run: Run, network: Network) -> str:
    others = sum(trial.scored for trial in run.searched) - len(network.trials)
    told = (
        f"Trials of {plain(network.model)}, the best model, at the layer from which they "
        "trained on; what lies to its left was frozen. The dashed line is the best trial's."
    )
    if others:
        what = "trial of another model" if others == 1 else "trials of other models"
        told += f" {others} {what} cannot be drawn along these layers."
    if not network.blocks:
        told += " Its layers could not be named here, so they are numbered."
    return told
