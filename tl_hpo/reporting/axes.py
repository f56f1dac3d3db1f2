"""What the trials of a step differ in: the axes along which its search is drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tl_hpo.reporting.records import Trial

Value = str | float | None

SAME_SHARE = 0.05
"""Shares that differ by less are one: of the layers of several models there are whole numbers."""


@dataclass(frozen=True)
class Axis:
    """A hyperparameter of a step: its name in words, and what each scored trial has of it."""

    name: str
    values: Sequence[Value]
    log: bool = False

    @property
    def is_category(self) -> bool:
        """Whether it has names, not numbers."""
        return any(isinstance(value, str) for value in self.values)

    @property
    def categories(self) -> list[str]:
        """The names that occur, in the order of the alphabet."""
        return sorted({value for value in self.values if isinstance(value, str)})


def axes_of(trials: Sequence[Trial]) -> list[Axis]:
    """Return the hyperparameters in which trials of one step differ.

    What both phases share has one axis. The delimiting layer is a share of the layers where the
    trials have several models.
    """
    shared = all(
        (t.head_optimizer, t.head_lr) == (t.finetune_optimizer, t.finetune_lr) for t in trials
    )
    phases = ("finetune",) if shared else ("head", "finetune")
    words = {"head": " (classification block)", "finetune": " (fine-tuning)"}
    axes = [Axis("model", [trial.model for trial in trials])]
    for phase in phases:
        about = "" if shared else words[phase]
        optimizers = [getattr(trial, f"{phase}_optimizer") or None for trial in trials]
        rates = [getattr(trial, f"{phase}_lr") for trial in trials]
        axes += [Axis(f"optimizer{about}", optimizers), Axis(f"learning rate{about}", rates, True)]
    axes += [_layers(trials), *further_axes(trials)]
    return [axis for axis in axes if len(set(axis.values) - {None}) > 1]


def further_axes(trials: Sequence[Trial]) -> list[Axis]:
    """Return what the trials' strategy searches beyond the usual axes, whether they differ or not.

    Numbers over two decades and more are drawn by their logarithm.
    """
    axes = []
    for key in dict.fromkeys(key for trial in trials for key in trial.further):
        cells = [trial.further.get(key) for trial in trials]
        numbers = [None if cell is None else _number(cell) for cell in cells]
        if all(
            (number is None) == (cell is None) for number, cell in zip(numbers, cells, strict=True)
        ):
            known = [number for number in numbers if number is not None]
            axes.append(Axis(key, numbers, 0 < 100 * min(known) <= max(known)))
        else:
            axes.append(Axis(key, cells))
    return axes


def _number(text: str) -> float | None:
    """Return the finite number that a text is; None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _layers(trials: Sequence[Trial]) -> Axis:
    if len({trial.n_layers for trial in trials}) == 1:
        return Axis("delimiting layer", [trial.delimiting_layer for trial in trials])
    shares = [
        t.delimiting_layer / t.n_layers if t.delimiting_layer is not None and t.n_layers else None
        for t in trials
    ]
    known = [share for share in shares if share is not None]
    same = max(known, default=0.0) - min(known, default=0.0) < SAME_SHARE
    return Axis("delimiting layer (share)", [None] * len(trials) if same else shares)
