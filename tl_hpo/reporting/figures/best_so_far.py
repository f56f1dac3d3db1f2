"""The best validation accuracy so far over trials and over time, one line per strategy."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tl_hpo.reporting.best_so_far import Standing
from tl_hpo.reporting.figures.accuracy_over_time import bound_accuracy, or_nan, unit_of
from tl_hpo.reporting.figures.strategies_over_time import STRATEGY_COLOURS, STYLES
from tl_hpo.reporting.figures.style import FAINT, drawing, legend_below, shortened

LABEL_SHARE = 0.035
"""Of the width of a panel: what the name of a step needs beside that of another."""

Position = Callable[[Standing], float]


def draw(strategies: Mapping[str, Sequence[Standing]], own: str, path: Path, title: str) -> None:
    """Draw a line per strategy, and where the steps of the strategy ``own`` begin.

    ``strategies`` maps names of at most six experiments to how their search stood, none of them
    without a trial.
    """
    unit, length = unit_of(max(rows[-1].elapsed_seconds for rows in strategies.values()))
    with drawing(path, 10, 4.6 if len(strategies) == 1 else 5.0, title) as figure:
        trials, time = figure.subplots(1, 2, sharey=True)
        _panel(trials, strategies, own, lambda row: row.trials)
        _panel(time, strategies, own, lambda row: row.elapsed_seconds / length)
        trials.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        trials.set(xlabel="Trials", ylabel="Best validation accuracy so far")
        time.set_xlabel(f"Elapsed time ({unit})")
        bound_accuracy(trials)
        if len(strategies) > 1:
            handles = trials.get_legend_handles_labels()[0]
            legend_below(figure, handles, columns=min(3, len(handles)))


def _panel(
    axes: Axes, strategies: Mapping[str, Sequence[Standing]], own: str, position: Position
) -> None:
    """Draw all lines at the positions that ``position`` gives to their rows."""
    for index, (name, rows) in enumerate(strategies.items()):
        axes.plot(
            [position(row) for row in rows],
            [or_nan(row.best_val_accuracy) for row in rows],
            drawstyle="steps-post",
            color=STRATEGY_COLOURS[index % len(STRATEGY_COLOURS)],
            linestyle=STYLES[index % len(STYLES)],
            linewidth=2.4 if name == own else 1.6,
            marker="o",
            markersize=5 if name == own else 3.5,
            markevery=_changes(rows),
            label=_label(name, rows, name == own),
        )
    longest = max(position(rows[-1]) for rows in strategies.values())
    alone = all(len(rows) == 1 for rows in strategies.values())  # points, not lines
    axes.set_xlim(0, longest * (2.0 if alone else 1.03) or 1.0)
    _mark_steps(axes, strategies[own], position)


def _label(name: str, rows: Sequence[Standing], own: bool) -> str:
    marked = own and len({row.step for row in rows}) > 1
    return shortened(name, 40) + (" (its steps marked)" if marked else "")


def _changes(rows: Sequence[Standing]) -> list[int]:
    """Return where another trial became the best."""
    bests = [(row.best_step, row.best_number) for row in rows]
    return [index for index, best in enumerate(bests) if not index or best != bests[index - 1]]


def _mark_steps(axes: Axes, rows: Sequence[Standing], position: Position) -> None:
    """Draw a hairline where each step begins, with its name where there is room for it."""
    begins = _begins(rows, position)
    edge, room = axes.get_xaxis_transform(), LABEL_SHARE * axes.get_xlim()[1]
    free = 0.0
    for step, place in begins.items() if len(begins) > 1 else ():
        axes.axvline(place, color=FAINT, linewidth=0.7, zorder=0.8)
        if place >= free:
            axes.text(
                place + room / 5,
                0.02,
                shortened(step, 24),
                transform=edge,
                rotation=90,
                fontsize=8.5,
                color=FAINT,
                va="bottom",
                zorder=0.9,  # behind the lines
            )
            free = place + room


def _begins(rows: Sequence[Standing], position: Position) -> dict[str, float]:
    """Return where each step begins: at the end of the trial before its first that ended."""
    begins: dict[str, float] = {}
    before = 0.0
    for row in rows:
        begins.setdefault(row.step, before)
        before = position(row)
    return begins
