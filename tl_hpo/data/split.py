"""Which images are trained on, which are validated on, which are tested on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from omegaconf import DictConfig

from tl_hpo.data.groups import FindGroups, resolve_groups
from tl_hpo.data.official_split import official_split
from tl_hpo.data.sides import Split
from tl_hpo.data.split_file import read_split, write_split
from tl_hpo.data.split_settings import SplitSettings, read_settings
from tl_hpo.data.splitters import grouped_split, kfold_split, random_split, stratified_split
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError

__all__ = ["Split", "SplitTable", "make_split", "random_split", "write_split"]


@dataclass(frozen=True)
class SplitTable:
    """Images and how they were split.

    Attributes:
        table: its groups are those that were kept on one side each, where there are such.
        split: of the table.
        asked: share of each side that was asked for, by its name; empty where the sides were
            given image by image.
        grouped: whether the groups of the table were kept on one side each.

    """

    table: ImageTable
    split: Split
    asked: Mapping[str, float]
    grouped: bool


def make_split(
    table: ImageTable, cfg: DictConfig, near_duplicates: FindGroups | None = None
) -> SplitTable:
    """Return the split of ``table`` that ``cfg`` (the config group `split`) describes.

    Args:
        table: the images.
        cfg: see conf/split.
        near_duplicates: names the cluster of near-duplicates that each image belongs to; called
            where ``cfg.groups`` asks for it.

    Raises:
        UserError: settings that cannot work (see `read_settings`), groups, an official split or
            a file that the dataset does not go with, no image to train on or to validate on.
        ValueError: near-duplicates are asked for without a function that finds them.

    """
    settings = read_settings(cfg)
    if settings.file is not None:
        split, groups = read_split(settings.file, table)
        made = SplitTable(_with_groups(table, groups), split, {}, grouped=False)
    else:
        groups = resolve_groups(table, settings.groups, near_duplicates)
        split, asked = _split(table, groups, settings)
        made = SplitTable(_with_groups(table, groups), split, asked, grouped=groups is not None)
    _check_sides(made, settings)
    return made


def _with_groups(table: ImageTable, groups: tuple[str, ...] | None) -> ImageTable:
    return table if groups is None else replace(table, groups=groups)


def _split(
    table: ImageTable, groups: tuple[str, ...] | None, settings: SplitSettings
) -> tuple[Split, dict[str, float]]:
    """Return a split and the shares that were asked for."""
    if settings.kind == "official":
        return official_split(table, groups, settings)
    labels, seed = table.labels, settings.seed
    of_image = None if groups is None else np.array(groups)
    if settings.kind == "kfold":
        split = kfold_split(labels, of_image, settings.folds, settings.fold or 0, seed)
        return split, _shares(1 / settings.folds, 1 / settings.folds)
    validation, test = settings.validation, settings.test
    if of_image is None:
        split = stratified_split(labels, validation, test, seed)
    else:
        split = grouped_split(labels, of_image, validation, test, seed)
    return split, _shares(validation, test)


def _shares(validation: float, test: float) -> dict[str, float]:
    return {"train": 1 - validation - test, "validation": validation, "test": test}


def _check_sides(made: SplitTable, settings: SplitSettings) -> None:
    needed = ("train", "validation", *(["test"] if settings.kind == "kfold" else []))
    empty = [side for side in needed if not len(made.split.sides()[side])]
    if empty:
        raise UserError(
            f"a split must have images on the sides {', '.join(needed)}, got none on "
            f"{' and '.join(empty)} with split={settings.kind} and split.groups="
            f"{settings.groups}; {_remedy(settings)}."
        )


def _remedy(settings: SplitSettings) -> str:
    if settings.kind == "file":
        return f"mend {settings.file}, or set split=holdout"
    return "add images of further groups, or set split.groups=none or split=holdout"
