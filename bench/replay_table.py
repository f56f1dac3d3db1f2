"""The table of real trials as a function: the epochs of any trial of its space, without training.

Between grid points the epochs are interpolated, linearly in log10 of the learning rate and in the
share of frozen layers; learning rates outside of the grid count as its nearest. Curves of different
lengths: a phase that has ended keeps what its best epoch reached, and takes no more time. So the
result and the seconds of a trial are interpolated as well, and no interpolated trial is better
than all recorded ones.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tl_hpo.errors import UserError

Array = np.ndarray

HEAD, FINETUNE = "head", "finetune"
OWN, BEST = "own", "best"  # the block that fine-tuning starts from
LINEAR, NEAREST = "linear", "nearest"  # what stands between grid points
LAYERS, MAJORITY_SHARE, HEAD_EPOCHS = 100, 0.3, 10  # where the file beside the table does not tell
CLOSE = 1e-9  # of a grid point: numbers come back from text and logarithms


@dataclass(frozen=True)
class Curve:
    """The epochs of one phase, and what it came to.

    Attributes:
        validation, test: accuracy after every epoch; [epochs].
        seconds: that every epoch took; [epochs].
        reached: validation and test accuracy of the epoch that validates best, the first among
            equals.

    """

    validation: Array
    test: Array
    seconds: Array
    reached: tuple[float, float]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "Curve":
        """Return the curve of a phase's rows, in order of their epochs."""
        validation, test, seconds = (
            rows[name].to_numpy(float) for name in ("validation", "test", "seconds")
        )
        best = int(validation.argmax())
        return cls(validation, test, seconds, (float(validation[best]), float(test[best])))

    @classmethod
    def none(cls, reached: tuple[float, float]) -> "Curve":
        """Return a phase without epochs, which leaves what was reached before."""
        return cls(np.empty(0), np.empty(0), np.empty(0), reached)


def blend(parts: Sequence[tuple[float, Curve]]) -> Curve:
    """Return the weighted mean of curves; the weights add up to 1."""
    if len(parts) == 1:
        return parts[0][1]
    epochs = max(len(curve.validation) for _, curve in parts)

    def mean(name: str, after: Sequence[float]) -> Array:
        total = np.zeros(epochs)
        for (weight, curve), value in zip(parts, after, strict=True):
            own = getattr(curve, name)
            total[: len(own)] += weight * own
            total[len(own) :] += weight * value
        return total

    validation, test = zip(*(curve.reached for _, curve in parts), strict=True)
    weights = [weight for weight, _ in parts]
    return Curve(
        mean("validation", validation),
        mean("test", test),
        mean("seconds", [0.0] * len(parts)),
        (float(np.dot(weights, validation)), float(np.dot(weights, test))),
    )


def between(grid: Array, value: float, how: str = LINEAR) -> list[tuple[int, float]]:
    """Return index and weight of the points of an ascending grid that a value lies between."""
    value = float(np.clip(value, grid[0], grid[-1]))
    nearest = int(np.abs(grid - value).argmin())
    if how == NEAREST or abs(grid[nearest] - value) < CLOSE:
        return [(nearest, 1.0)]
    right = int(np.searchsorted(grid, value))
    share = float((value - grid[right - 1]) / (grid[right] - grid[right - 1]))
    return [(right - 1, 1 - share), (right, share)]


class Table:
    """Curves of recorded trials, and of those between them.

    Attributes:
        models, optimizers: their names.
        rates, depths: of the grid, ascending.
        layers: number of layers of every model.
        majority_share: accuracy of always naming the largest class.
        head_epochs: planned for the head phase.
        blocks: the best validation accuracy after any head phase, by model.

    Args:
        rows: one per epoch, columns as in `bench.table`.
        about: what stands beside the table: ``layers`` of the models, ``majority_share``,
                ``head_epochs``.
        how: ``linear`` or ``nearest``.

    Raises:
        UserError: some model lacks an optimizer or a learning rate.

    """

    def __init__(
        self, rows: pd.DataFrame, about: Mapping[str, Any] | None = None, how: str = LINEAR
    ) -> None:
        about = about or {}
        self.models = sorted(rows["model"].unique())
        self.optimizers = sorted(rows["optimizer"].unique())
        self.rates = np.sort(rows["lr"].unique())
        self.depths = np.sort(rows.loc[rows["phase"] == FINETUNE, "depth"].unique())
        self.layers = dict.fromkeys(self.models, LAYERS) | dict(about.get("layers", {}))
        self.head_epochs = int(about.get("head_epochs", HEAD_EPOCHS))
        self.majority_share = float(about.get("majority_share", MAJORITY_SHARE))
        self._how = how
        self._curves = _curves(rows)
        self._check()
        self.blocks = {
            model: max(self._head(model, o, i).reached[0] for o, i in self._pairs())
            for model in self.models
        }

    def head(self, model: str, optimizer: str, lr: float) -> Curve:
        """Return the head phase of a trial."""
        rates = between(np.log10(self.rates), np.log10(lr), self._how)
        return blend([(weight, self._head(model, optimizer, i)) for i, weight in rates])

    def finetune(
        self, model: str, optimizer: str, lr: float, depth: float, block: float | None = None
    ) -> Curve:
        """Return the fine-tuning of a trial.

        Recorded are the start from the block that the same optimizer and rate trained, and that
        from the model's best block. A block of another quality stands between the two.

        Args:
            depth: share of the layers that stay frozen.
            block: validation accuracy of the block that it starts from; None for the best one.

        """
        best = self.blocks[model]
        own = self.head(model, optimizer, lr).reached[0]
        share = 1.0 if block is None else 0.0
        if block is not None and best > own:
            share = float(np.clip((block - own) / (best - own), 0.0, 1.0))
        corners = [
            (u * v, i, j)
            for i, u in between(np.log10(self.rates), np.log10(lr), self._how)
            for j, v in between(self.depths, depth, self._how)
        ]
        return blend(
            [
                (weight * part, self._finetune(model, optimizer, i, start, j))
                for start, part in ((OWN, 1 - share), (BEST, share))
                if part > 0
                for weight, i, j in corners
            ]
        )

    def optimum(self, starts: Sequence[str] = (OWN, BEST)) -> float:
        """Return the highest validation accuracy of any trial that fine-tunes from ``starts``."""
        return max(
            curve.reached[0]
            for (_, _, _, start, _), curve in self._curves.items()
            if start in (HEAD, *starts)
        )

    def finals(self, model: str) -> tuple[Array, Array]:
        """Return accuracies of a model's trials, from the own block, on the grid.

        Both validation and test have the shape [optimizers, rates, depths].
        """
        reached = [
            [
                [self._finetune(model, o, i, OWN, j).reached for j in range(len(self.depths))]
                for i in range(len(self.rates))
            ]
            for o in self.optimizers
        ]
        validation, test = np.moveaxis(np.array(reached), -1, 0)
        return validation, test

    def _head(self, model: str, optimizer: str, rate: int) -> Curve:
        return self._curves[model, optimizer, self.rates[rate], HEAD, 1.0]

    def _finetune(self, model: str, optimizer: str, rate: int, start: str, depth: int) -> Curve:
        """Return a recorded phase; one that was lost before it began leaves the block's result.

        From the best block nothing is recorded where the own one is about as good.
        """
        for each in dict.fromkeys((start, OWN)):
            key = model, optimizer, self.rates[rate], each, self.depths[depth]
            if key in self._curves:
                return self._curves[key]
        return Curve.none(self._head(model, optimizer, rate).reached)

    def _pairs(self) -> list[tuple[str, int]]:
        return [(o, i) for o in self.optimizers for i in range(len(self.rates))]

    def _check(self) -> None:
        for model in self.models:
            for optimizer, i in self._pairs():
                if (model, optimizer, self.rates[i], HEAD, 1.0) not in self._curves:
                    raise UserError(
                        "the table must hold every model with every optimizer and rate, got none "
                        f"of {model} with {optimizer} at {self.rates[i]:.3g}; record it to its end."
                    )


def _curves(rows: pd.DataFrame) -> dict[tuple[str, str, float, str, float], Curve]:
    keys = ["model", "optimizer", "lr", "phase", "start", "depth"]
    found = {}
    for (model, optimizer, lr, phase, start, depth), own in rows.groupby(keys, sort=False):
        kind = HEAD if phase == HEAD else start
        found[model, optimizer, lr, kind, depth] = Curve.of(own.sort_values("epoch"))
    return found


@functools.cache
def read_table(path: Path, how: str = LINEAR) -> Table:
    """Return the table at ``path``, a Parquet file with a JSON file beside it; once per process."""
    beside = path.with_suffix(".json")
    about = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    return Table(pd.read_parquet(path), about, how)
