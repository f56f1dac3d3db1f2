"""The settings of the config group `split`, checked before any image is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_hpo.errors import UserError, unknown

MAX_SEED = 2**32 - 1  # of numpy's RandomState
MIN_FOLDS = 3  # one for each side
KINDS = ("random", "holdout", "official", "kfold", "file")


@dataclass(frozen=True)
class SplitSettings:
    """How images are to be split; a setting that its kind does not know has its default.

    Attributes:
        kind: one of `KINDS`.
        groups: ``auto``, ``video``, ``near_duplicates``, ``none`` or the name of a column.
        validation: share in (0, 1).
        test: share in [0, 1).
        folds: number of folds.
        fold: index of the fold that is tested on; None: the first.
        seed: of numpy's RandomState.
        file: a split.csv.

    """

    kind: str
    groups: str = "none"
    validation: float = 0.0
    test: float = 0.0
    folds: int = 0
    fold: int | None = None
    seed: int = 0
    file: Path | None = None


def read_settings(cfg: Mapping[str, Any]) -> SplitSettings:
    """Return the settings in ``cfg`` (the config group `split`).

    Raises:
        UserError: unknown ``cfg.kind``, a share outside (0, 1), shares that leave nothing to train
            on, a number of folds or a fold outside its range, a seed that is no whole number from
            0 to 2^32 - 1, no file where one is needed.

    """
    kind = cfg.get("kind")
    if kind not in KINDS:
        raise unknown("split.kind", str(kind), KINDS)
    if kind == "file":
        return SplitSettings(kind, file=_file(cfg.get("file")))
    groups = cfg.get("groups")
    groups = "none" if groups is None else str(groups)
    seed = check_seed(cfg.get("seed"))
    if kind == "kfold":
        folds = _whole("split.folds", cfg.get("folds"), MIN_FOLDS)
        tested = _whole("split.fold", cfg.get("fold"), 0, folds - 1)
        return SplitSettings(kind, groups, seed=seed, folds=folds, fold=tested)
    validation = _share("split.validation", cfg.get("validation"))
    if kind == "official":
        first = cfg.get("fold") is None
        fold = None if first else _whole("split.fold", cfg.get("fold"), 0)
        return SplitSettings(kind, groups, validation, seed=seed, fold=fold)
    test = _share("split.test", cfg.get("test"), none=True) if kind == "holdout" else 0.0
    _check_rest(validation, test)
    return SplitSettings(kind, groups, validation, test, seed=seed)


def _share(key: str, value: Any, none: bool = False) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (0 < value < 1 or (none and value == 0)):
        also = ", or 0 for no such side" if none else ""
        raise UserError(
            f"{key} must be a share between 0 and 1, both excluded{also}, got {value!r}; "
            f"set {key}=0.2, say."
        )
    return float(value)


def _check_rest(validation: float, test: float) -> None:
    if validation + test >= 1:
        raise UserError(
            "split.validation and split.test must leave a share to train on, got "
            f"{validation:g} and {test:g}; lower one of them."
        )


def check_seed(value: Any) -> int:
    """Return ``value`` if it can be a seed.

    Raises:
        UserError: it is no whole number from 0 to 2^32 - 1.

    """
    return _whole("seed", value, 0, MAX_SEED)


def _whole(key: str, value: Any, low: int, high: int | None = None) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise UserError(
            f"{key} must be a whole number {span}, got {value!r}; set {key}={low}, say."
        )
    return int(value)


def _file(value: Any) -> Path:
    if value is None or not str(value).strip():
        raise UserError(
            f"split.file must be the split.csv of a run folder, got {value!r}; "
            "set split.file=FILE, or another split=NAME."
        )
    return Path(str(value)).expanduser()
