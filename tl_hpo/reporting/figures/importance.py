"""The importance of each hyperparameter as horizontal bars, a panel per step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from tl_hpo.reporting.figures.style import PALETTE, drawing, shortened
from tl_hpo.reporting.importance import by_step, name_of
from tl_hpo.reporting.records import Importance

WIDTH = 7.0
NAME_CHARACTERS = 28
BAR_INCHES = 0.42
STEP_INCHES = 0.45
"""What a panel needs besides its bars."""


def draw(rows: Sequence[Importance], path: Path, title: str, trials: Mapping[str, int]) -> None:
    """Draw the shares of every step; ``trials`` tells from how many trials each step's come."""
    steps = by_step(rows)
    bars = [len(own) for own in steps.values()]
    height = BAR_INCHES * sum(bars) + STEP_INCHES * len(steps) + 1.0
    with drawing(path, WIDTH, height, title) as figure:
        panels = figure.subplots(len(steps), 1, sharex=True, squeeze=False, height_ratios=bars)
        for axes, (step, own) in zip(panels[:, 0], steps.items(), strict=True):
            _bars(axes, own)
            axes.set_title(f"step {shortened(step, 40)}, from {trials[step]} trials", loc="left")
        highest = max(row.importance for row in rows)
        axes.set_xlim(0, 100 * min(1.0, highest) * 1.12)  # room for the number at its end
        axes.set_xlabel("Share of what single hyperparameters explain (%)")


def _bars(axes: Axes, rows: Sequence[Importance]) -> None:
    """Draw one step, the most important on top."""
    names = [_label(row.parameter) for row in rows]
    places = range(len(rows))
    shares = [100 * row.importance for row in rows]
    bars = axes.barh(places, shares, height=0.68, color=PALETTE[0])
    axes.bar_label(bars, [f"{share:.0f}" for share in shares], padding=4)
    axes.set_yticks(places, names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _label(parameter: str) -> str:
    """Return the name of a hyperparameter, its phase on a line of its own."""
    lines = name_of(parameter).replace(" (", "\n(").splitlines()
    return "\n".join(shortened(line, NAME_CHARACTERS) for line in lines)
