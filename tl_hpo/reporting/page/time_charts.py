"""Charts of accuracy over time, and of the best accuracy so far."""

from collections.abc import Mapping, Sequence
from itertools import cycle, groupby

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tl_hpo.reporting.best_so_far import Standing
from tl_hpo.reporting.figures.accuracy_over_time import (
    BEST,
    PHASES,
    best_so_far,
    time_unit,
    unit_of,
)
from tl_hpo.reporting.figures.style import PALETTE
from tl_hpo.reporting.page.charts import ACCURACY, INK, Chart, colours_of, empty, layout, text
from tl_hpo.reporting.records import Epoch

MOST_EPOCHS = 10_000
"""Epochs in all charts of a page at most: of the best trials, so that the page stays small."""
FLAT_MARGIN = 0.05  # of accuracy, above and below a line without height
DASHES = {"head": "dot", "finetune": "solid"}


def accuracy_over_time(epochs: Sequence[Epoch], file: str) -> Chart:
    """Return a line per trial, coloured by step, and the highest accuracy so far."""
    unit, length = time_unit(epochs)
    figure = empty(430)
    colours = colours_of(epoch.step for epoch in epochs)
    drawn = _best_epochs(epochs, MOST_EPOCHS)
    _add_trials(figure, epochs, drawn, colours, length)
    figure.update_layout(xaxis_title=f"elapsed time ({unit})", yaxis_title=ACCURACY)
    return Chart(
        figure, "Validation accuracy of every epoch over time", file, _note(len(epochs), len(drawn))
    )


def experiments_over_time(
    experiments: Mapping[str, Sequence[Epoch]], file: str, most: int = MOST_EPOCHS
) -> Chart:
    """Return a panel per experiment with its trials, below each other on one time axis.

    At most ``most`` epochs are drawn, of each experiment the same number.
    """
    everything = [epoch for epochs in experiments.values() for epoch in epochs]
    unit, length = time_unit(everything)
    titles = [text(name) for name in experiments]
    figure = make_subplots(
        len(titles), 1, shared_xaxes=True, shared_yaxes="all", subplot_titles=titles,
        vertical_spacing=0.32 / (len(titles) + 1),
    )  # fmt: skip
    height = 130 + 240 * len(titles)
    above = {"legend": {"orientation": "h", "yanchor": "bottom", "y": 1 + 34 / height, "x": 0}}
    figure.update_layout(**layout(height) | above, margin_t=80)
    colours = colours_of(epoch.step for epoch in everything)
    count = 0
    for row, epochs in enumerate(experiments.values(), start=1):
        drawn = _best_epochs(epochs, most // len(experiments))
        _add_trials(figure, epochs, drawn, colours, length, row)
        count += len(drawn)
    figure.update_yaxes(title=ACCURACY)
    figure.update_xaxes(title=f"elapsed time ({unit})", row=len(titles))
    about = "Validation accuracy of every epoch over time, a panel per experiment"
    return Chart(figure, about, file, _note(len(everything), count))


def _add_trials(
    figure: go.Figure,
    epochs: Sequence[Epoch],
    drawn: Sequence[Epoch],
    colours: Mapping[str, str],
    length: float,
    row: int | None = None,
) -> None:
    """Add a trace per step and phase, with a gap after each trial; ``length`` is a unit's.

    The lines are of the epochs ``drawn``, the highest accuracy so far is over all ``epochs``.
    """
    place = {} if row is None else {"row": row, "col": 1}
    named = {trace.legendgroup for trace in figure.data}
    for (step, phase), lines in _lines(drawn).items():
        figure.add_scatter(
            x=[None if e is None else round(e.elapsed_seconds / length, 3) for e in lines],
            y=[None if e is None else _rounded(e.val_accuracy) for e in lines],
            customdata=[None if e is None else [e.number, e.epoch] for e in lines],
            mode="lines+markers",
            line={"color": colours[step], "dash": DASHES.get(phase, "solid"), "width": 1.6},
            marker={"size": 4},
            legendgroup=step,
            name=f"step {text(step, 30)}",
            showlegend=step not in named,
            hovertemplate=f"{text(step)}, trial %{{customdata[0]}}<br>{PHASES.get(phase, phase)}, "
            "epoch %{customdata[1]}<br>accuracy %{y:.4f}<extra></extra>",
            **place,
        )
        named.add(step)
    times, highest = _corners(*best_so_far(epochs))
    figure.add_scatter(
        x=[time / length for time in times], y=highest, mode="lines", meta=INK, name=BEST,
        line={"shape": "hv", "width": 1.6}, legendgroup=BEST, showlegend=BEST not in named,
        hoverinfo="skip", **place,
    )  # fmt: skip


def _rounded(accuracy: float | None) -> float | None:
    return None if accuracy is None else round(accuracy, 5)


def _lines(epochs: Sequence[Epoch]) -> dict[tuple[str, str], list[Epoch | None]]:
    """Return the epochs of each (step, phase); fine-tuning begins where the head phase ends."""
    steps = {step: place for place, step in enumerate(dict.fromkeys(e.step for e in epochs))}
    lines: dict[tuple[str, str], list[Epoch | None]] = {
        (step, phase): [] for step in steps for phase in reversed(PHASES)
    }  # fine-tuning first: it stands for its step in the legend
    ordered = sorted(epochs, key=lambda e: (steps[e.step], e.number, e.phase != "head", e.epoch))
    for (step, _), trial in groupby(ordered, key=lambda e: (e.step, e.number)):
        end: list[Epoch] = []
        for phase, part in groupby(trial, key=lambda e: e.phase):
            rows = list(part)
            lines.setdefault((step, phase), []).extend([*end, *rows, None])
            end = rows[-1:]
    return {key: own for key, own in lines.items() if own}


def _corners(times: Sequence[float], highest: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the places where a rising line of steps rises, and its end."""
    last = len(times) - 1
    kept = [i for i in range(len(times)) if i in (0, last) or highest[i] != highest[i - 1]]
    return [times[i] for i in kept], [highest[i] for i in kept]


def _best_epochs(epochs: Sequence[Epoch], most: int) -> Sequence[Epoch]:
    """Return the epochs of as many of the best trials as there is room for, of one at least."""
    if len(epochs) <= most:
        return epochs
    trials: dict[tuple[str, int], list[Epoch]] = {}
    for epoch in epochs:
        trials.setdefault((epoch.step, epoch.number), []).append(epoch)
    best = sorted(trials.values(), key=lambda own: -max(e.val_accuracy or 0.0 for e in own))
    kept: list[Epoch] = []
    for own in best:
        if kept and len(kept) + len(own) > most:
            break
        kept += own
    return kept


def _note(total: int, drawn: int) -> str:
    told = "Dotted: training of the classification block; solid: fine-tuning."
    if drawn < total:
        told += f" Of {total:,} epochs {drawn:,}, of the best trials, are drawn."
    return told


def standing_charts(stood: Mapping[str, Sequence[Standing]], file: str) -> list[Chart]:
    """Return the best accuracy so far of each experiment, over trials and over time."""
    unit, length = unit_of(max(rows[-1].elapsed_seconds for rows in stood.values()))
    charts = []
    for about, name in (("trials", ""), (f"elapsed time ({unit})", file)):
        figure = empty(330)
        for colour, (experiment, rows) in zip(cycle(PALETTE), stood.items(), strict=False):
            kept = _changes(rows)
            places = [r.elapsed_seconds / length if name else r.trials for r in kept]
            _add_standing(figure, experiment, kept, places, colour)
        figure.update_layout(
            xaxis={"title": about, "rangemode": "tozero"},
            yaxis_title=f"best {ACCURACY} so far",
            showlegend=len(stood) > 1,
        )
        levels = {r.best_val_accuracy for rows in stood.values() for r in rows}
        known = {level for level in levels if level is not None}
        if len(known) == 1:  # the axis of a line without height would go beyond 0 and 1
            [level] = known
            figure.update_yaxes(range=[level - FLAT_MARGIN, level + FLAT_MARGIN])
        told = f"Best validation accuracy so far over {about}"
        charts.append(Chart(figure, told, "" if name else file))
    return charts


def _changes(rows: Sequence[Standing]) -> list[Standing]:
    """Return the first row, those where another trial became the best, and the last."""
    bests = [(row.best_step, row.best_number) for row in rows]
    last = len(rows) - 1
    return [r for i, r in enumerate(rows) if i in (0, last) or bests[i] != bests[i - 1]]


def _add_standing(
    figure: go.Figure, name: str, rows: Sequence[Standing], places: Sequence[float], colour: str
) -> None:
    figure.add_scatter(
        x=list(places),
        y=[row.best_val_accuracy for row in rows],
        customdata=[[text(row.step), row.number] for row in rows],
        mode="lines+markers",
        line={"shape": "hv", "color": colour, "width": 2},
        marker={"size": 5},
        name=text(name, 40),
        hovertemplate="after trial %{customdata[1]} of %{customdata[0]}<br>"
        "best accuracy %{y:.4f}<extra></extra>",
    )
