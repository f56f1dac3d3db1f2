"""The top of a report: what was searched, what was found, what it comes to, how to repeat it."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from tl_hpo.reporting import paper, tables
from tl_hpo.reporting.markdown import SYNTHETIC
from tl_hpo.reporting.page.rendering import fill, html_of
from tl_hpo.reporting.page.words import duration
from tl_hpo.reporting.records import Best, Run, SideMetrics


def top(run: Run, beside: Sequence[paper.Comparison]) -> Markup:
    """Return the head of the page; ``beside`` is set beside the paper's figures."""
    best = run.best
    blocks = [] if best is None else tables.judgement(run)[1:]
    return fill(
        "top.html.j2",
        dataset=run.experiment.dataset,
        strategy=run.experiment.strategy,
        synthetic=SYNTHETIC if run.experiment.synthetic else "",
        unfinished="" if best else tables.UNFINISHED,
        cards=_cards(run, best) if best else [],
        found=html_of(tables.found(run, best)) if best else "",
        metrics=html_of(blocks, "Metrics"),
        paper=html_of(tables.beside_paper(run.experiment.dataset, beside)[1:], "Beside the paper"),
        command=tables.command(run, best) if best else "",
    )


def _cards(run: Run, best: Best) -> list[dict[str, str]]:
    sides = run.metrics.sides() if run.metrics else {}
    validation = _card("validation accuracy", best.validation, sides.get("validation"))
    notes = {"note": "the search chose by these images"}
    cards = [validation | notes]
    if best.test is not None:
        test = _card("test accuracy", best.test, sides.get("test"))
        cards.append(test | {"note": "images that the search never saw"})
    scored = sum(trial.scored for trial in run.searched)
    steps = len(tables.steps_of(run.searched))
    hours = f" in {duration(best.search_seconds)}" if best.search_seconds else ""
    cards.append(
        {
            "name": "trials",
            "value": str(len(run.searched)),
            "interval": f"{scored} with an accuracy{hours}",
            "note": "in 1 step" if steps == 1 else f"in {steps} steps",
        }
    )
    return cards


def _card(name: str, figures: Mapping[str, float], side: SideMetrics | None) -> dict[str, str]:
    bounds = (side.intervals if side else {}).get("accuracy")
    told = f"95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else ""
    value = figures.get("accuracy")
    return {"name": name, "value": "" if value is None else f"{value:.3f}", "interval": told}
