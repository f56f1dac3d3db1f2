"""The search for the best point of a mixed space: every combination of categories, then a zoom.

| symbol | meaning | shape |
|---|---|---|
| rows | points: a category's index, or a number in [0, 1], per axis | (n, n_axes) |
| sizes | number of categories of an axis, 0 of a number | (n_axes,) |
| score | how promising each of the rows is | (n,) |
"""

import functools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

Array = NDArray[np.float64]
Map = Callable[[Array], Array]

MOST_COMBINATIONS = 2048
MOST_POINTS = 16_384
LEAST_EACH, MOST_EACH = 8, 64  # points in every combination
WIDTHS = (0.1, 0.04, 0.016, 0.0064)  # standard deviations of the zoom, round by round
CENTRES, CENTRES_EACH = 12, 3  # of the zoom, in all and in one combination
CHILDREN = 32  # of every centre in a round


def search(
    score: Map, sizes: tuple[int, ...], seen: Array, rng: np.random.Generator, canonical: Map
) -> tuple[Array, Array]:
    """Return rows and their scores, the most promising first.

    Args:
        score: of rows.
        sizes: of the axes.
        seen: rows whose combinations and surroundings are looked at besides.
        rng: draws the points.
        canonical: of rows, those that stand for the same points of the search space.

    """
    numeric = np.asarray(sizes) == 0
    spread = canonical(_spread(combinations(sizes, seen, rng, canonical), numeric, rng))
    rows = np.vstack([spread, seen])
    scores = score(rows)
    found = [(rows, scores)]
    for width in WIDTHS if numeric.any() else ():
        centres = _best(rows[:, ~numeric], scores)
        children = canonical(_around(rows[centres], numeric, width, rng))
        found.append((children, score(children)))
        rows = np.vstack([rows[centres], children])
        scores = np.concatenate([scores[centres], found[-1][1]])
    rows, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order]


def combinations(
    sizes: tuple[int, ...], seen: Array, rng: np.random.Generator, canonical: Map
) -> Array:
    """Return one row for every combination of categories, its numbers anywhere.

    Where there are too many, those of ``seen`` and as many others, drawn at random, as may be.
    """
    if math.prod(max(size, 1) for size in sizes) <= MOST_COMBINATIONS:
        rows = np.array(_all_combinations(sizes))
    else:
        drawn = np.floor(rng.random((MOST_COMBINATIONS - len(seen), len(sizes))) * sizes)
        rows = np.vstack([seen, drawn])
    categorical = np.asarray(sizes) > 0
    rows[:, ~categorical] = 0.5
    mapped = canonical(rows)
    if (mapped != rows)[:, categorical].any() or len(rows) == MOST_COMBINATIONS:
        first = np.unique(mapped[:, categorical], axis=0, return_index=True)[1]
        return mapped[np.sort(first)]
    return mapped


@functools.cache
def _all_combinations(sizes: tuple[int, ...]) -> Array:
    grid = np.indices([max(size, 1) for size in sizes], dtype=float)
    return grid.reshape(len(sizes), -1).T


def _spread(rows: Array, numeric: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Return rows around the unit cube for every one given: Sobol points, shifted for each."""
    n_numeric = int(numeric.sum())
    if not n_numeric:
        return rows
    each = min(max(MOST_POINTS // len(rows), LEAST_EACH), MOST_EACH)
    points = _sobol(n_numeric)[:each] + rng.random((len(rows), 1, n_numeric))
    spread = np.repeat(rows, each, axis=0)
    spread[:, numeric] = (points % 1.0).reshape(-1, n_numeric)
    return spread


@functools.cache
def _sobol(n_numeric: int) -> Array:
    return np.asarray(qmc.Sobol(n_numeric, scramble=False).random(MOST_EACH))


def _around(
    centres: Array, numeric: NDArray[np.bool_], width: float, rng: np.random.Generator
) -> Array:
    children = np.repeat(centres, CHILDREN, axis=0)
    steps = width * rng.standard_normal((len(children), int(numeric.sum())))
    children[:, numeric] = np.clip(children[:, numeric] + steps, 0.0, 1.0)
    return children


def _best(categories: Array, scores: Array) -> list[int]:
    """Return the indices of the best scores, few of them of the same categories."""
    counts: Counter[bytes] = Counter()
    best: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        key = categories[index].tobytes()
        if counts[key] < CENTRES_EACH:
            counts[key] += 1
            best.append(int(index))
        if len(best) == CENTRES:
            break
    return best
