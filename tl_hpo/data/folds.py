"""Stratified folds by scikit-learn, and which of them come nearest to what is asked for.

With every group on one side, proportions cannot be had exactly. scikit-learn's
`StratifiedGroupKFold` deals groups out to folds greedily, in an order left to a seed; so several
numbers of folds and seeds are tried, and the nearest union of folds is kept.
"""

import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tl_hpo.errors import UserError

MAX_FOLDS = 12  # so that all 2^12 unions of them can be compared
MAX_SMALL_FOLDS = 50  # where a side is smaller than one of those folds
NUMBERS_OF_FOLDS = 3  # tried for one side
MAX_SEEDS = 8  # tried for one number of folds
# Groups times folds, over all tries for one side; scikit-learn takes some 25 µs for each.
WORK = 100_000
NEAR = 0.01  # a deviation that further tries are not worth their time
# A class that is absent from a side is as bad as ten times the images asked for, for no metric can
# be had of it; one that is kept from an earlier side is worse than anything else.
ABSENT = 10.0
MISSING = 1e6


def held_out_groups(
    labels: np.ndarray, groups: np.ndarray, wanted: np.ndarray, reserve: int, seed: int
) -> np.ndarray:
    """Return which images to hold out, bool [n], whole groups only.

    Args:
        labels: class indices below c, int64 [n].
        groups: group of each image, [n].
        wanted: images of each class to hold out, [c].
        reserve: groups of each class that other sides come first for; a class that has no more
            than these is not held out.
        seed: of numpy's RandomState.

    """
    codes = np.unique(groups, return_inverse=True)[1]
    present = np.greater(_table(codes, labels, len(wanted)), 0)  # [groups, c]
    number = present.sum(axis=0)
    rare = number <= reserve
    free = ~present[:, rare].any(axis=1)[codes]
    held_out = np.zeros(len(labels), dtype=bool)
    best = np.inf
    for folds in _tries(labels[free], codes[free], wanted.sum() / max(free.sum(), 1), seed):
        images = _table(folds, labels[free], len(wanted))
        fold_of = np.full(len(present), -1)
        fold_of[codes[free]] = folds
        held_groups = np.stack([present[fold_of == k].sum(axis=0) for k in range(len(images))])
        unions = _unions(len(images))
        left = number - unions @ held_groups
        missing = np.maximum(np.minimum(reserve, number) - left, 0).sum(axis=1)
        costs = MISSING * missing + deviation(unions @ images, wanted, ~rare)
        if costs.min() < best:
            best = costs.min()
            held_out[free] = unions[costs.argmin()][folds] > 0
        if best < NEAR:
            break
    return held_out


def deviation(held: np.ndarray, wanted: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return how far sides are from what is asked for, float [s]; 0: not at all.

    The sum of three: the relative deviation of the number of images, the mean of that of the
    classes, and `ABSENT` for each class that is absent.

    Args:
        held: images of each class on each side, [s, c].
        wanted: images of each class asked for, [c].
        counted: classes that can be had, bool [c].

    """
    overall = np.abs(held.sum(axis=1) - wanted.sum()) / wanted.sum()
    classes = held[:, counted & (wanted > 0)]
    asked = wanted[counted & (wanted > 0)]
    off = np.abs(classes - asked) / asked
    return overall + off.sum(axis=1) / max(len(asked), 1) + ABSENT * (classes == 0).sum(axis=1)


def deal(labels: np.ndarray, groups: np.ndarray | None, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each image, int64 [n]: stratified, and every group in one fold.

    Args:
        labels: class indices, int64 [n].
        groups: group of each image, [n], or None to deal out images one by one.
        folds: number of folds.
        seed: of numpy's RandomState.

    Raises:
        UserError: fewer groups than folds, or no class with as many images as folds.

    """
    sizes = np.bincount(labels)
    if groups is None or len(np.unique(groups)) == len(groups):
        _check_folds(folds, int(sizes.max()), "images of the largest class")
        return _fold_of(StratifiedKFold(folds, shuffle=True, random_state=seed), labels, None)
    _check_folds(folds, len(np.unique(groups)), "groups")
    _check_folds(folds, int(sizes.max()), "images of the largest class")
    counted = np.ones(len(sizes), dtype=bool)
    best, nearest = np.inf, np.zeros(0, dtype=np.int64)
    for fold_of in _deals(labels, groups, [folds], seed):
        cost = deviation(_table(fold_of, labels, len(sizes)), sizes / folds, counted).sum()
        if cost < best:
            best, nearest = cost, fold_of
        if best < folds * NEAR:
            break
    return nearest


def _check_folds(folds: int, most: int, what: str) -> None:
    if folds > most:
        raise UserError(
            f"split.folds must be at most the number of {what}, {most}, got {folds}; "
            "lower split.folds, or set split=holdout or split.groups=none."
        )


def _tries(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> Iterator[np.ndarray]:
    """Yield the fold of each image, several times over, for a side of ``share`` of them."""
    codes = np.unique(groups, return_inverse=True)[1]
    n_groups = int(codes.max(initial=-1)) + 1
    if n_groups == 0:
        return
    if n_groups <= MAX_FOLDS:  # each a fold of its own: all there is can be compared
        yield np.random.RandomState(seed).permutation(n_groups)[codes]
        return
    most = min(n_groups, int(np.bincount(labels).max()))
    yield from _deals(labels, codes, _numbers_of_folds(share, most), seed)


def _deals(
    labels: np.ndarray, groups: np.ndarray, numbers: list[int], seed: int
) -> Iterator[np.ndarray]:
    """Yield the fold of each image for every number of folds and several seeds, in bounded time."""
    left = WORK
    n_groups = len(np.unique(groups))
    for number, each in enumerate(np.random.RandomState(seed).randint(2**31, size=MAX_SEEDS)):
        for folds in numbers:
            left -= n_groups * folds
            if left < 0 and (number or folds != numbers[0]):
                return
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=int(each))
            yield _fold_of(splitter, labels, groups)


def _numbers_of_folds(share: float, most: int) -> list[int]:
    """Return numbers of folds that ``share`` is nearly a multiple of, the nearest first."""
    if share < 1 / MAX_FOLDS:
        return [max(2, min(round(1 / share), MAX_SMALL_FOLDS, most))]

    def distance(folds: int) -> float:
        return round(abs(min(max(round(share * folds), 1), folds - 1) / folds - share), 3)

    return sorted(range(2, min(MAX_FOLDS, most) + 1), key=distance)[:NUMBERS_OF_FOLDS]


def _fold_of(
    splitter: StratifiedGroupKFold | StratifiedKFold, labels: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
    fold_of = np.empty(len(labels), dtype=np.int64)
    with warnings.catch_warnings():  # of classes with fewer images than folds: the summary tells
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, members) in enumerate(splitter.split(labels, labels, groups)):
            fold_of[members] = fold
    return fold_of


def _unions(folds: int) -> np.ndarray:
    """Return sets of folds, int64 [sets, folds] of 0 and 1: all of them where they are few."""
    if folds > MAX_FOLDS:
        return np.eye(folds, dtype=np.int64)
    return np.arange(1, 2**folds)[:, None] >> np.arange(folds) & 1


def _table(rows: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Count the images of each class in each row, int64 [rows, classes]; rows are int64 [n]."""
    counts = np.zeros((rows.max(initial=-1) + 1, classes), dtype=np.int64)
    np.add.at(counts, (rows, labels), 1)
    return counts
