"""The files of a run folder as typed records."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tl_hpo.data.audit.records import Audit
from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.reporting.leakage import read_audit
from tl_hpo.training.metrics import ClassMetrics

Record = TypeVar("Record")


@dataclass(frozen=True)
class Trial:
    """A row of trials.csv; ``None`` where the file has no finite value. Times are in seconds."""

    step: str
    number: int
    state: str
    model: str
    head_optimizer: str
    head_lr: float | None
    finetune_optimizer: str
    finetune_lr: float | None
    delimiting_layer: float | None
    n_layers: int | None
    val_accuracy: float | None
    epochs: int | None
    seconds: float | None
    started: str
    reason: str

    @property
    def scored(self) -> bool:
        """Whether the trial ended with an accuracy, cancelled early or not."""
        return self.state in ("COMPLETE", "PRUNED") and self.val_accuracy is not None


@dataclass(frozen=True)
class Epoch:
    """A row of curves.csv; ``elapsed_seconds`` counts from the start of the experiment."""

    step: str
    number: int
    phase: str
    epoch: int
    val_accuracy: float | None
    elapsed_seconds: float


@dataclass(frozen=True)
class SplitImage:
    """A row of split.csv; ``path`` is relative to the dataset root, ``group`` may be empty."""

    path: str
    label: str
    side: str
    group: str


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv; ``confidence`` is the probability of the predicted class."""

    path: str
    label: str
    predicted: str
    confidence: float
    side: str


@dataclass(frozen=True)
class Best:
    """best.json: the best trial, its overrides and its metrics; ``test`` may be absent."""

    strategy: str
    step: str
    number: int
    val_accuracy: float
    validation: Mapping[str, float]
    overrides: tuple[str, ...] = ()
    test: Mapping[str, float] | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class SideMetrics:
    """What the best model comes to on one side of the split, classes in index order.

    Attributes:
        headline: metrics over all classes.
        intervals: of each of them, where they are known.
        groups: number of groups that the intervals rest on; None where it is not known.
        of_one_group: classes that come from a single group.

    """

    headline: Mapping[str, float]
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    groups: int | None = None
    of_one_group: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelMetrics:
    """best_model/metrics.json; ``test`` is None where there is no test side.

    ``difference`` holds the intervals of test minus validation.
    """

    validation: SideMetrics
    test: SideMetrics | None = None
    difference: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def sides(self) -> dict[str, SideMetrics]:
        """Return the sides that there are, by name."""
        tested = {} if self.test is None else {"test": self.test}
        return {"validation": self.validation, **tested}


@dataclass(frozen=True)
class Experiment:
    """experiment.json: what the run folder is about; ``dataset_root`` is empty if not known.

    ``split`` tells what the split came to: ``lines`` and ``warnings`` in words, numbers by name.
    """

    dataset: str
    strategy: str
    dataset_root: str = ""
    synthetic: bool = False
    classes: tuple[str, ...] = ()
    objective: str = "val_accuracy"
    split: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run folder; lists are empty and optional parts ``None`` where the file is absent."""

    folder: Path
    experiment: Experiment
    trials: list[Trial] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    split: list[SplitImage] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    best: Best | None = None
    metrics: ModelMetrics | None = None
    audit: Audit | None = None

    @property
    def root(self) -> Path | None:
        """Folder that the image paths are relative to."""
        return Path(self.experiment.dataset_root) if self.experiment.dataset_root else None


def read_run(folder: Path) -> Run:
    """Read the files of a run folder, those absent excepted.

    Raises:
        UserError: ``folder`` is no run folder, or one of its files cannot be understood.

    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in ("experiment.json", "trials.csv")):
        raise UserError(
            f"The run folder must hold experiment.json or trials.csv, got {str(folder)!r}; "
            "name a folder that optimize.py wrote to, <runs_dir>/<dataset>/<strategy>."
        )
    metrics = _read_metrics(folder / "best_model" / "metrics.json")
    return Run(
        folder=folder,
        experiment=_read_experiment(folder, metrics),
        trials=_read_rows(folder / "trials.csv", Trial),
        epochs=_read_rows(folder / "curves.csv", Epoch),
        split=_read_rows(folder / "split.csv", SplitImage),
        predictions=_read_rows(folder / "predictions.csv", Prediction),
        best=_read_object(folder / "best.json", Best),
        metrics=metrics,
        audit=read_audit(folder),
    )


def _read_experiment(folder: Path, metrics: ModelMetrics | None) -> Experiment:
    """Read experiment.json, or tell from the folder's name; labels.json has the class order."""
    path, labels = folder / "experiment.json", folder / "best_model" / "labels.json"
    resolved = folder.resolve()
    told = _read_json(path) or {"dataset": resolved.parent.name, "strategy": resolved.name}
    if labels.is_file():
        told = {**told, "classes": _read_json(labels)}
    experiment = _build(told, Experiment, path)
    known = len(metrics.validation.confusion) if metrics else len(experiment.classes)
    if known != len(experiment.classes):
        raise UserError(
            f"{labels} must name the {known} classes of metrics.json, got "
            f"{len(experiment.classes)}; repeat the command that wrote the run folder."
        )
    return experiment


def _read_metrics(path: Path) -> ModelMetrics | None:
    told = _read_json(path)
    if told is None:
        return None
    try:
        tested = told.get("test")
        return ModelMetrics(
            _side_metrics(told, told, "validation", path),
            _side_metrics(told, told["test_side"], "test", path) if tested else None,
            told.get("intervals", {}).get("difference", {}),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def _side_metrics(told: Any, tables: Any, side: str, path: Path) -> SideMetrics:
    return SideMetrics(
        dict(told[side]),
        tuple(_build(row, ClassMetrics, path) for row in tables["per_class"]),
        tuple(tuple(int(count) for count in row) for row in tables["confusion"]),
        told.get("intervals", {}).get(side, {}),
        told.get("groups", {}).get(side),
        tuple(told.get("of_one_group", {}).get(side, ())),
    )


def _read_object(path: Path, kind: type[Record]) -> Record | None:
    told = _read_json(path)
    return None if told is None else _build(told, kind, path)


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unreadable(path, error) from error


def _build(told: Any, kind: type[Record], path: Path) -> Record:
    """Make a record of the keys that it has fields for; lists become tuples."""
    try:
        known = {name: told[name] for name in _names(kind) if name in told}
        frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
        return kind(**frozen)
    except TypeError as error:
        raise _unreadable(path, error) from error


def _read_rows(path: Path, kind: type[Record]) -> list[Record]:
    if not path.is_file():
        return []
    hints = get_type_hints(kind)
    converters = {name: _CONVERTERS[hints[name]] for name in _names(kind)}
    try:
        return [
            kind(**{name: convert(row[name]) for name, convert in converters.items()})
            for row in read_csv(path)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def _names(kind: Any) -> list[str]:
    return [entry.name for entry in fields(kind)]


def _finite(text: str) -> float | None:
    """Return the number, ``None`` for an empty cell, a NaN or an infinity."""
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def _whole(text: str) -> int | None:
    value = _finite(text)
    return None if value is None else int(value)


def _unreadable(path: Path, error: Exception) -> UserError:
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    return UserError(
        f"{path} must be a file that optimize.py wrote, got {cause}; "
        "repeat the command that wrote the run folder."
    )


_CONVERTERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    float | None: _finite,
    int | None: _whole,
}
