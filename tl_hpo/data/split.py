"""Which images are trained on, which are validated on, which are tested on."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from sklearn.model_selection import train_test_split

from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError, unknown
from tl_hpo.files import write_csv

COLUMNS = ("path", "label", "side", "group")
MAX_SEED = 2**32 - 1  # of numpy's RandomState


@dataclass(frozen=True)
class Split:
    """Indices into an `ImageTable`, sorted int64 arrays, disjoint, together all images."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def sides(self) -> dict[str, np.ndarray]:
        """Return the indices by the name of their side."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def make_split(table: ImageTable, cfg: DictConfig) -> Split:
    """Return the split of ``table`` that ``cfg`` (the config group `split`) describes.

    Raises:
        UserError: unknown ``cfg.kind`` or ``cfg.groups``, a share outside (0, 1), a seed that is
            no whole number from 0 to 2^32 - 1.

    """
    if cfg.kind != "random":
        raise unknown("split.kind", str(cfg.kind), ["random"])
    groups = cfg.get("groups")
    if groups not in (None, "none"):
        raise UserError(
            f"split.groups must be none for split=random, got {groups!r}; set split.groups=none."
        )
    return random_split(table.labels, _share(cfg.validation), _seed(cfg.seed))


def random_split(labels: np.ndarray, validation: float, seed: int) -> Split:
    """Return a stratified split into training and validation, the paper's protocol.

    Every class with n images gives round(``validation`` * n) of them to the validation side, but
    at least one to either side. (scikit-learn's own stratification refuses small classes or
    leaves them out of a side; so each class is split by itself.)

    Args:
        labels: class indices, int64 [n]; at least two images of each class.
        validation: share in (0, 1).
        seed: of numpy's RandomState.

    """
    rng = np.random.RandomState(seed)
    train, held_out = [], []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        number = math.floor(validation * len(members) + 0.5)
        number = min(max(number, 1), len(members) - 1)
        inner, outer = train_test_split(members, test_size=number, random_state=rng)
        train.append(inner)
        held_out.append(outer)
    nothing = np.empty(0, dtype=np.int64)
    return Split(np.sort(np.concatenate(train)), np.sort(np.concatenate(held_out)), nothing)


def write_split(path: Path, table: ImageTable, split: Split) -> None:
    """Write split.csv: path relative to the dataset's root, label, side, group; sorted by path."""
    rows = [
        {
            "path": table.relative(index),
            "label": table.classes[table.labels[index]],
            "side": side,
            "group": table.groups[index] if table.groups else None,
        }
        for side, indices in split.sides().items()
        for index in indices.tolist()
    ]
    write_csv(path, COLUMNS, sorted(rows, key=lambda row: str(row["path"])))


def _share(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < 1:
        raise UserError(
            f"split.validation must be a share between 0 and 1, both excluded, got {value!r}; "
            "set split.validation=0.3, say."
        )
    return float(value)


def _seed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEED:
        raise UserError(
            f"seed must be a whole number from 0 to {MAX_SEED}, got {value!r}; set seed=0, say."
        )
    return value
