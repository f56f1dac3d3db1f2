"""The sides of a split, and the names that they go by."""

from dataclasses import dataclass

import numpy as np

# What publishers and users call them, in lower case.
SIDE_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Split:
    """Indices into an `ImageTable`, sorted int64 arrays, disjoint, together all images."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def sides(self) -> dict[str, np.ndarray]:
        """Return the indices by the name of their side."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def side_of(name: str) -> str | None:
    """Return the side that ``name`` means, in any case, or None where it means none."""
    return SIDE_NAMES.get(name.strip().lower())


def split_by(on_validation: np.ndarray, on_test: np.ndarray) -> Split:
    """Return the split that two disjoint masks, bool [n], describe; the rest is trained on."""
    on_train = ~(on_validation | on_test)
    return Split(*(np.flatnonzero(side) for side in (on_train, on_validation, on_test)))
