"""The split that a dataset's publisher made: named sides, or numbered folds."""

import re
from collections.abc import Sequence

import numpy as np

from tl_hpo.data.sides import SIDE_NAMES, Split, side_of, split_by
from tl_hpo.data.split_settings import SplitSettings
from tl_hpo.data.splitters import grouped_split, random_split
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError, some_of

FOLD_NAME = re.compile(r"(?:fold|split)?[\s_-]*(\d+)", re.ASCII | re.IGNORECASE)


def official_split(
    table: ImageTable, groups: Sequence[str] | None, settings: SplitSettings
) -> tuple[Split, dict[str, float]]:
    """Return the publisher's split of ``table``, and the shares that it asks for.

    Where it has no validation side, ``settings.validation`` of the training images become one,
    stratified, with each of ``groups`` on one side. Of numbered folds, that at
    ``settings.fold`` in their order is tested on.

    Returns:
        The split, and the share of each side by its name, without any where the publisher gave
        all sides.

    Raises:
        UserError: there is no such split, some images have no place or an unknown one in it, or
            there is no such fold.

    """
    sides = np.array(_sides(table, settings.fold))
    on_validation, on_test = sides == "validation", sides == "test"
    if on_validation.any():
        return split_by(on_validation, on_test), {}
    train = np.flatnonzero(sides == "train")
    if len(train):
        part = _validation_of(table.labels[train], groups, train, settings)
        on_validation[train[part.validation]] = True
    test_share = float(on_test.mean())
    validation_share = settings.validation * (1 - test_share)
    asked = {"train": 1 - validation_share - test_share, "validation": validation_share}
    return split_by(on_validation, on_test), asked | {"test": test_share}


def _validation_of(
    labels: np.ndarray, groups: Sequence[str] | None, train: np.ndarray, settings: SplitSettings
) -> Split:
    if groups is None:
        return random_split(labels, settings.validation, settings.seed)
    return grouped_split(labels, np.array(groups)[train], settings.validation, 0.0, settings.seed)


def _sides(table: ImageTable, fold: int | None) -> list[str]:
    """Return the side of each image; the folds that are not tested on are trained on."""
    if table.official is None:
        raise UserError(
            f"split=official must go with a dataset that comes with a split, got "
            f"dataset={table.name} without one; name it (dataset.split_column for a csv table, "
            "dataset.official_split for HyperKvasir), or set split=holdout or split=file."
        )
    values = [value.strip() for value in table.official]
    names, folds = _kinds_of(table, values)
    if not folds:
        if fold is not None:
            raise UserError(
                f"split.fold must be null where the official split has named sides, got {fold} "
                f"for the sides {', '.join(sorted(names))}; leave it out."
            )
        return [side_of(value) or "" for value in values]
    if len(folds) < 2 or (fold or 0) >= len(folds):
        raise UserError(
            f"split.fold must be one of the official folds, at least 2 and numbered from 0, got "
            f"{fold or 0} of {len(folds)} ({some_of(folds)}); set split.fold=0 or split=holdout."
        )
    tested = folds[fold or 0]
    return ["test" if value == tested else "train" for value in values]


def _kinds_of(table: ImageTable, values: Sequence[str]) -> tuple[set[str], list[str]]:
    """Return the values that name sides, and those that name folds, in order; one has none.

    Raises:
        UserError: a value that is neither, or both kinds.

    """
    names = {value for value in values if side_of(value)}
    matches = {value: FOLD_NAME.fullmatch(value) for value in set(values)}
    folds = {value: int(match[1]) for value, match in matches.items() if match}
    strange = sorted(set(values) - names - folds.keys())
    if strange:
        told = ", ".join(f"{value!r} of {values.count(value)} images" for value in strange[:5])
        raise UserError(
            f"an official split must name sides ({', '.join(SIDE_NAMES)}) or numbered folds, got "
            f"{told}{', ...' if len(strange) > 5 else ''} in {table.name}; mend the table, or set "
            "split=holdout."
        )
    if names and folds:
        n_folds = sum(value in folds for value in values)
        raise UserError(
            f"an official split must name either sides or folds, got the sides "
            f"{', '.join(sorted(names))} of {len(values) - n_folds} images and the folds "
            f"{some_of(sorted(folds))} of {n_folds} in {table.name}; mend the table, or set "
            "split=holdout."
        )
    return names, sorted(folds, key=lambda value: (folds[value], value))
