"""Every trial in a table that can be sorted and filtered."""

from collections.abc import Sequence
from typing import Any

from tl_hpo.reporting.axes import further_axes
from tl_hpo.reporting.figures.style import shortened
from tl_hpo.reporting.page.limits import best_trials
from tl_hpo.reporting.page.rendering import Section, fill, html_of, section
from tl_hpo.reporting.records import Run, Trial
from tl_hpo.reporting.tables import steps
from tl_hpo.search.usual_axes import short_value

REASON_CHARACTERS = 200
STATES = {
    "COMPLETE": "finished",
    "PRUNED": "cancelled early",
    "FAIL": "failed",
    "RUNNING": "running",
}
CHOSEN_COLUMNS = (
    ("step", False),
    ("trial", True),
    ("state", False),
    ("accuracy", True),
    ("model", False),
    ("optimizer of the block", False),
    ("its rate", True),
    ("optimizer of fine-tuning", False),
    ("its rate", True),
    ("delimiting layer", True),
)
RESULT_COLUMNS = (
    ("epochs", True),
    ("seconds", True),
    ("started", False),
    ("reason", False),
)
"""Name of each column, and whether it holds numbers; between them the further axes."""


UNPRINTED = ("epochs", "started")  # paper has no room for them


def steps_section(run: Run) -> Section | None:
    """Return what each step came to, and why one ended early."""
    return section("steps", "Steps", html_of(steps(run)[1:], "Steps")) if run.trials else None


def trials(run: Run) -> Section | None:
    """Return the table of all trials, the best marked; of many, the best and some that failed."""
    if not run.trials:
        return None
    shown = best_trials(run.trials)
    best = (run.best.step, run.best.number) if run.best else None
    further = [(axis.name, not axis.is_category) for axis in further_axes(shown)]
    columns = (*CHOSEN_COLUMNS, *further, *RESULT_COLUMNS)
    rows = [
        {
            "cells": _cells(trial, columns, [name for name, _ in further]),
            "state": trial.state,
            "best": (trial.step, trial.number) == best,
        }
        for trial in shown
    ]
    states = {state: name for state, name in STATES.items() if any(t.state == state for t in shown)}
    body = fill(
        "trials.html.j2",
        columns=columns,
        unprinted=UNPRINTED,
        rows=rows,
        states=states,
        total=len(run.trials),
        scored=sum(trial.scored for trial in shown),
    )
    return section("trials", "Every trial", body)


def _cells(
    trial: Trial, columns: Sequence[tuple[str, bool]], further: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what each column shows, and what it is sorted by."""
    values = [
        *_chosen(trial),
        *[_further(trial, name) for name in further],
        *_results(trial),
    ]
    return [
        {
            "name": name,
            "shown": shown,
            "value": value if number and value is not None else "",
            "number": number,
        }
        for (value, shown), (name, number) in zip(values, columns, strict=True)
    ]


def _chosen(trial: Trial) -> list[tuple[Any, str]]:
    layer, total = trial.delimiting_layer, f" of {trial.n_layers}" if trial.n_layers else ""
    return [
        (trial.step, trial.step),
        (trial.number, str(trial.number)),
        (trial.state, STATES.get(trial.state, trial.state)),
        (trial.val_accuracy, "" if trial.val_accuracy is None else f"{trial.val_accuracy:.4f}"),
        (trial.model, trial.model),
        (trial.head_optimizer, trial.head_optimizer),
        (trial.head_lr, "" if trial.head_lr is None else f"{trial.head_lr:.4g}"),
        (trial.finetune_optimizer, trial.finetune_optimizer),
        (trial.finetune_lr, "" if trial.finetune_lr is None else f"{trial.finetune_lr:.4g}"),
        (layer, "" if layer is None else f"{layer:g}{total}"),
    ]


def _further(trial: Trial, name: str) -> tuple[Any, str]:
    cell = trial.further.get(name, "")
    return cell, shortened(short_value(cell), REASON_CHARACTERS)


def _results(trial: Trial) -> list[tuple[Any, str]]:
    return [
        (trial.epochs, "" if trial.epochs is None else str(trial.epochs)),
        (trial.seconds, "" if trial.seconds is None else f"{trial.seconds:,.1f}"),
        (trial.started, trial.started.replace("T", " ")[:16]),
        (trial.reason, shortened(trial.reason, REASON_CHARACTERS)),
    ]
