"""Stratified splits into sides of given shares, image by image or group by group."""

import math

import numpy as np
from sklearn.model_selection import train_test_split

from tl_hpo.data.folds import deal, held_out_groups
from tl_hpo.data.sides import Split, split_by


def random_split(labels: np.ndarray, validation: float, seed: int) -> Split:
    """Return a stratified split into training and validation, the paper's protocol.

    See `stratified_split`, without a test side.
    """
    return stratified_split(labels, validation, 0.0, seed)


def stratified_split(labels: np.ndarray, validation: float, test: float, seed: int) -> Split:
    """Return a split in which every class has the shares asked for, as near as whole images allow.

    Of a class with n images, round(``test`` * n) and round(``validation`` * n) are held out, but
    at least one is trained on, then one validated on, then one tested on. (scikit-learn's own
    stratification refuses small classes or leaves them out of a side; so each class is split by
    itself.)

    Args:
        labels: class indices, int64 [n].
        validation: share in (0, 1).
        test: share in [0, 1); 0: no test side.
        seed: of numpy's RandomState.

    """
    rng = np.random.RandomState(seed)
    on_validation, on_test = (np.zeros(len(labels), dtype=bool) for _ in range(2))
    for label in np.unique(labels):
        rest = np.flatnonzero(labels == label)
        n_validation, n_test = _numbers(len(rest), validation, test)
        for side, number in ((on_test, n_test), (on_validation, n_validation)):
            if number:
                rest, held_out = train_test_split(rest, test_size=number, random_state=rng)
                side[held_out] = True
    return split_by(on_validation, on_test)


def _numbers(images: int, validation: float, test: float) -> tuple[int, int]:
    """Return how many images of a class are validated on and tested on."""
    n_validation, n_test = (
        max(1, math.floor(share * images + 0.5)) if share else 0 for share in (validation, test)
    )
    while n_validation + n_test > images - 1:
        if n_test >= n_validation:
            n_test -= 1
        else:
            n_validation -= 1
    return n_validation, n_test


def grouped_split(
    labels: np.ndarray, groups: np.ndarray, validation: float, test: float, seed: int
) -> Split:
    """Return a split that is stratified as well as it can be with every group on one side.

    A class with one group is trained on alone; one with two is not tested on.

    Args:
        labels: class indices, int64 [n].
        groups: group of each image, [n].
        validation: share in (0, 1).
        test: share in [0, 1); 0: no test side.
        seed: of numpy's RandomState.

    """
    if len(np.unique(groups)) == len(groups):
        return stratified_split(labels, validation, test, seed)
    sizes = np.bincount(labels)
    on_test = np.zeros(len(labels), dtype=bool)
    if test:
        on_test = held_out_groups(labels, groups, test * sizes, 2, seed)
    rest = np.flatnonzero(~on_test)
    on_validation = np.zeros(len(labels), dtype=bool)
    on_validation[rest] = held_out_groups(labels[rest], groups[rest], validation * sizes, 1, seed)
    return split_by(on_validation, on_test)


def kfold_split(
    labels: np.ndarray, groups: np.ndarray | None, folds: int, fold: int, seed: int
) -> Split:
    """Return the split that tests on ``fold`` and validates on the next, the last on the first.

    Over all folds every image is tested on once.

    Args:
        labels: class indices, int64 [n].
        groups: group of each image, [n], or None to split images one by one.
        folds: number of folds, at least 3.
        fold: index of a fold.
        seed: of numpy's RandomState.

    Raises:
        UserError: fewer groups than folds, or no class with as many images as folds.

    """
    fold_of = deal(labels, groups, folds, seed)
    return split_by(fold_of == (fold + 1) % folds, fold_of == fold)
