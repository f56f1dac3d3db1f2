"""The accuracy of the trials along each hyperparameter that they differ in."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tl_hpo.reporting.axes import Axis, axes_of
from tl_hpo.reporting.figures.accuracy_over_time import bound_accuracy, or_nan
from tl_hpo.reporting.figures.convergence import KINDS
from tl_hpo.reporting.figures.style import drawing, legend_below, log_axis, shortened_apart
from tl_hpo.reporting.records import Trial

COLUMNS = 3
PANEL_INCHES = 3.4
NAME_CHARACTERS = 16


def draw(trials: Sequence[Trial], path: Path, title: str) -> None:
    """Draw a panel per hyperparameter; the trials are the scored ones of one step."""
    axes = axes_of(trials)
    columns = min(COLUMNS, len(axes))
    rows = -(-len(axes) // columns)
    with drawing(path, max(6.0, columns * PANEL_INCHES), rows * 3.2 + 0.9, title) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for panel, axis in zip(panels.flat, axes, strict=False):
            _panel(panel, axis, trials)
        for panel in panels.flat[len(axes) :]:
            panel.set_axis_off()
        for panel in panels[:, 0]:
            panel.set_ylabel("Validation accuracy")
        bound_accuracy(panels[0, 0])
        handles = panels[0, 0].get_legend_handles_labels()[0]
        legend_below(figure, handles, columns=len(handles))


def _panel(panel: Axes, axis: Axis, trials: Sequence[Trial]) -> None:
    names = axis.categories
    for state, (marker, colour, label) in KINDS.items():
        own = [
            (names.index(value) if isinstance(value, str) else value, trial.val_accuracy)
            for value, trial in zip(axis.values, trials, strict=True)
            if trial.state == state and value is not None
        ]
        if any(trial.state == state for trial in trials):
            x, y = [place for place, _ in own], [or_nan(accuracy) for _, accuracy in own]
            panel.scatter(x, y, s=26, c=colour, marker=marker, label=label)
    if axis.is_category:
        short = shortened_apart(names, NAME_CHARACTERS)
        panel.set_xticks(range(len(names)), short, rotation=35, ha="right")
        panel.set_xlim(-0.6, len(names) - 0.4)
    elif axis.log:
        log_axis(panel)
    else:
        panel.xaxis.set_major_locator(MaxNLocator(nbins=6, min_n_ticks=1))
    panel.set_xlabel(axis.name)
