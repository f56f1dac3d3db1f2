"""Charts of what mattered: importance, slices, the delimiting layer along the network."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from plotly.subplots import make_subplots

from tl_hpo.reporting import importance
from tl_hpo.reporting.axes import Axis, axes_of
from tl_hpo.reporting.figures.convergence import KINDS
from tl_hpo.reporting.figures.style import PALETTE, shortened_apart
from tl_hpo.reporting.network import Network
from tl_hpo.reporting.page.charts import ACCURACY, Chart, empty, layout, text
from tl_hpo.reporting.page.limits import MOST_TRIALS, best_trials, note
from tl_hpo.reporting.records import Importance, Trial

EARLY, LATE = "#56B4E9", "#D55E00"
"""Colours of the first and the last trial of a step, seen on white and on black."""
SYMBOLS = {"COMPLETE": "circle", "PRUNED": "triangle-down"}
NAME_CHARACTERS = 24
PANEL_PIXELS = 230
"""Least width of a panel; a chart with many is scrolled on a narrow screen."""


def importances(rows: Sequence[Importance], trials: Mapping[str, int]) -> Chart:
    """Return the shares of every step as bars; ``trials`` tells how many each step's come from."""
    steps = importance.by_step(rows)
    titles = [f"step {text(step, 40)}, from {trials[step]} trials" for step in steps]
    bars = [len(own) for own in steps.values()]
    height = 34 * sum(bars) + 56 * len(bars) + 40
    figure = make_subplots(
        len(steps), 1, shared_xaxes=True, subplot_titles=titles, row_heights=bars,
        vertical_spacing=56 / height if len(steps) > 1 else 0.0,
    )  # fmt: skip
    figure.update_layout(**layout(height), showlegend=False)
    for row, own in enumerate(steps.values(), start=1):
        figure.add_bar(
            x=[each.importance for each in own],
            y=[text(importance.name_of(each.parameter)).replace(" (", "<br>(") for each in own],
            orientation="h",
            marker={"color": PALETTE[0]},
            texttemplate="%{x:.0%}",
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
            row=row,
            col=1,
        )
    highest = max(row.importance for row in rows)
    figure.update_xaxes(range=[0, 1.15 * highest], tickformat=".0%")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return Chart(figure, "Importance of each hyperparameter", "figures/importance")


def slices(step: str, trials: Sequence[Trial], file: str, most: int = MOST_TRIALS) -> Chart | None:
    """Return Optuna's slice plot of the scored trials of a step, None where they do not differ.

    At most the ``most`` best of them are drawn.
    """
    everything = [trial for trial in trials if trial.scored]
    scored = best_trials(everything, most)
    axes = axes_of(scored)
    if not axes:
        return None
    figure = optuna.visualization.plot_slice(_study(scored, axes), target_name=ACCURACY)
    figure.update_layout(**layout(380), title="", yaxis_title=ACCURACY, showlegend=False)
    bar = {"title": "trial", "thickness": 12, "outlinewidth": 0}
    figure.for_each_trace(_without_quotes)
    names = {axis.name: axis.categories for axis in axes if axis.is_category}
    figure.for_each_xaxis(lambda axis: _shorten(axis, names.get(axis.title.text, ())))
    figure.update_traces(
        marker={
            "size": 8,
            "line": {"width": 0.5},
            "colorscale": [[0, EARLY], [1, LATE]],
            "colorbar": bar,
        }
    )
    about = f"Validation accuracy of the trials of step {step} along each hyperparameter"
    return Chart(figure, about, file, note(everything, most), PANEL_PIXELS * len(axes) + 110)


def _without_quotes(trace: go.Scatter) -> None:
    """Show names as they are; Optuna quotes them."""
    if trace.x and isinstance(trace.x[0], str):
        trace.x = [name.strip("'\"") for name in trace.x]


def _shorten(axis: go.layout.XAxis, names: Sequence[str]) -> None:
    """Shorten the names at the ticks, not the values: those of two models must stay two."""
    if names:
        short = shortened_apart(names, NAME_CHARACTERS)
        axis.tickvals = [_shown(name) for name in names]
        axis.ticktext = [_shown(name) for name in short]
        axis.automargin = True  # the end of a name, which may tell it apart, is not cut off
        axis.title.standoff = 8


def _study(trials: Sequence[Trial], axes: Sequence[Axis]) -> optuna.Study:
    """Return what Optuna draws: the trials as they stand in trials.csv, all as complete ones."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(before)
    spaces = {axis.name: _distribution(axis) for axis in axes}
    for index, trial in enumerate(trials):
        own = {axis.name: _shown(axis.values[index]) for axis in axes}
        params = {name: value for name, value in own.items() if value is not None}
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions={name: spaces[name] for name in params},
                value=trial.val_accuracy,
            )
        )
    return study


def _shown(value: Any) -> Any:
    return text(value, len(value)) if isinstance(value, str) else value


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.is_category:
        return CategoricalDistribution([_shown(name) for name in axis.categories])
    known = [float(value) for value in axis.values if value is not None]
    return FloatDistribution(min(known), max(known), log=axis.log and min(known) > 0)


def delimiting_layer(network: Network, file: str) -> Chart:
    """Return the trials of the best model by delimiting layer, along the network's blocks."""
    figure = empty(440)
    for state, (_, colour, label) in KINDS.items():
        own = [trial for trial in best_trials(network.trials) if trial.state == state]
        if not own:
            continue
        figure.add_scatter(
            x=[trial.delimiting_layer for trial in own],
            y=[trial.val_accuracy for trial in own],
            customdata=[[text(t.step), t.number, _first_trained(network, t)] for t in own],
            mode="markers",
            marker={"color": colour, "symbol": SYMBOLS[state], "size": 10},
            name=label,
            hovertemplate="%{customdata[0]}, trial %{customdata[1]}<br>%{customdata[2]}<br>"
            "accuracy %{y:.4f}<extra></extra>",
        )
    for index, block in enumerate(network.blocks):
        if index % 2:
            figure.add_vrect(
                block.first, block.last + 1, layer="below", line_width=0, fillcolor="#8a8a8a",
                opacity=0.12,
            )  # fmt: skip
    cut = network.best.delimiting_layer
    figure.add_vline(cut, line={"dash": "dash", "width": 1.5, "color": "#8a8a8a"})
    figure.update_layout(
        xaxis={
            **_network_axis(network),
            "range": [-0.02 * network.n_layers, 1.02 * network.n_layers],
        },
        yaxis_title=ACCURACY,
    )
    wide = 34 * len(network.blocks) + 120
    about = "Validation accuracy by delimiting layer"
    return Chart(figure, about, file, note(network.trials), min(wide, 640))


def _network_axis(network: Network) -> dict[str, Any]:
    if not network.blocks:
        return {"title": f"delimiting layer, of {network.n_layers}"}
    return {
        "title": f"layers of {text(network.model)}, 0 to {network.n_layers}, by block",
        "tickvals": [block.middle for block in network.named_blocks()],
        "ticktext": [text(block.name, 20) for block in network.named_blocks()],
        "tickangle": -55,
        "showgrid": False,
    }


def _first_trained(network: Network, trial: Trial) -> str:
    """Say where a trial cut: at the first layer that it trained."""
    cut = int(trial.delimiting_layer or 0)
    if not network.layers:
        return f"delimiting layer {cut} of {network.n_layers}"
    if cut >= len(network.layers):
        return f"delimiting layer {cut}: all is frozen"
    layer = network.layers[cut]
    return f"delimiting layer {cut}: trained from {text(layer.name)} ({text(layer.kind)}) on"
