"""Tables and splits by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable


@pytest.fixture(scope="session")
def table_of() -> Callable[..., ImageTable]:
    """Return a table of n made-up paths with the labels given."""

    def make(labels: Sequence[int], groups: Sequence[str] | None = None) -> ImageTable:
        root, names = Path("/images"), "abcdefgh"[: max(labels) + 1]
        paths = tuple(root / names[label] / f"{i}.png" for i, label in enumerate(labels))
        owned = None if groups is None else tuple(groups)
        return ImageTable("some", root, tuple(names), paths, np.asarray(labels), owned)

    return make


@pytest.fixture(scope="session")
def split_of() -> Callable[[str], Split]:
    """Return the split that a letter per image tells: r for train, v validation, t test."""

    def make(sides: str) -> Split:
        letters = np.array(list(sides))
        return Split(*(np.flatnonzero(letters == letter) for letter in "rvt"))

    return make
