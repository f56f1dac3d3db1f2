"""The files of a run folder as typed records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tl_hpo.data.audit.records import Audit
from tl_hpo.errors import UserError
from tl_hpo.inference.speed import SPEED_FILE, Speed
from tl_hpo.reporting.leakage import read_audit
from tl_hpo.reporting.reading import (
    build,
    read_json,
    read_object,
    read_objects,
    read_rows,
    unreadable,
)
from tl_hpo.search.endings import ENDINGS_FILE, Ending
from tl_hpo.search.known_images import KnownImages
from tl_hpo.search.study import REPEATS, rank
from tl_hpo.search.usual_axes import told_once
from tl_hpo.search.warm_file import BROUGHT, LEFT_OUT, WARM_FILE, Brought, LeftOut
from tl_hpo.training.calibration import Calibration, read_calibration
from tl_hpo.training.metrics import ClassMetrics
from tl_hpo.training.result import BEST_MODEL, METRICS_FILE


@dataclass(frozen=True)
class Trial:
    """A row of trials.csv; ``None`` where the file has no finite value. Times are in seconds.

    ``further`` holds what the strategy searches beyond the usual axes, as text, by its keys.
    """

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
    further: Mapping[str, str] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether the trial ended with an accuracy, cancelled early or not."""
        return self.state in ("COMPLETE", "PRUNED") and self.val_accuracy is not None

    @property
    def rank(self) -> tuple[bool, float]:
        """What orders scored trials from worse to better, by the rule that the search follows."""
        return rank(self.state, self.val_accuracy or 0.0)


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
class Importance:
    """A row of importance.csv; those of a step sum to 1, ``rank`` 1 is the most important."""

    step: str
    parameter: str
    importance: float
    rank: int


@dataclass(frozen=True)
class Repeat:
    """A row of repeats.csv: a configuration of the search, trained again with another seed.

    ``step`` and ``number`` name the trial of the search; ``mean`` and ``sd``, the sample standard
    deviation, are over all trainings of the configuration again, ``None`` where there is none.
    """

    configuration: int
    step: str
    number: int
    seed: int
    val_accuracy: float | None
    state: str
    mean: float | None
    sd: float | None
    chosen: bool


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
    """best.json: the best trial, its overrides and its metrics; ``test`` may be absent.

    ``search_seconds`` is how long the experiment has run for, all its trials.
    """

    strategy: str
    step: str
    number: int
    val_accuracy: float
    validation: Mapping[str, float]
    overrides: tuple[str, ...] = ()
    test: Mapping[str, float] | None = None
    search_seconds: float | None = None


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

    ``split`` tells what the split came to: ``lines`` and ``warnings`` in words, numbers by name;
    ``warnings_without_names`` name no group, which may be a patient, and older folders lack them.
    ``config_dirs`` are the user's own folders of configuration, which the overrides may name.
    ``versions`` holds those of the software by name, and machine and device; empty in older ones.
    """

    dataset: str
    strategy: str
    dataset_root: str = ""
    synthetic: bool = False
    classes: tuple[str, ...] = ()
    objective: str = "val_accuracy"
    split: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    config_dirs: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[str, str, frozenset[str]]:
        """What experiments that may be compared have in common: dataset, its folder, classes."""
        return self.dataset, self.dataset_root, frozenset(self.classes)


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
    importances: list[Importance] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    known_images: KnownImages | None = None
    endings: list[Ending] = field(default_factory=list)
    brought: list[Brought] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    calibration: Calibration | None = None
    speed: Speed | None = None

    @property
    def best_trial(self) -> Trial | None:
        """The trial that best.json names, None where there is none."""
        own = (self.best.step, self.best.number) if self.best else None
        return next((t for t in self.trials if (t.step, t.number) == own), None)

    @property
    def judged(self) -> dict[str, list[Prediction]]:
        """Predictions of the validation and the test side by its name, of those that there are."""
        sides = {
            side: [row for row in self.predictions if row.side == side]
            for side in ("validation", "test")
        }
        return {side: rows for side, rows in sides.items() if rows}

    @property
    def searched(self) -> list[Trial]:
        """Trials of the search, without those that repeat its best."""
        return [trial for trial in self.trials if trial.step != REPEATS]

    @property
    def searched_epochs(self) -> list[Epoch]:
        """Epochs of the search, without those that repeat its best."""
        return [epoch for epoch in self.epochs if epoch.step != REPEATS]

    @property
    def root(self) -> Path | None:
        """Folder that the image paths are relative to."""
        return Path(self.experiment.dataset_root) if self.experiment.dataset_root else None


def is_run_folder(folder: Path) -> bool:
    """Tell whether the folder is one that optimize.py wrote to."""
    return any((folder / name).is_file() for name in ("experiment.json", "trials.csv"))


def read_run(folder: Path) -> Run:
    """Read the files of a run folder, those absent excepted.

    Raises:
        UserError: ``folder`` is no run folder, or one of its files cannot be understood.

    """
    folder = Path(folder)
    if not is_run_folder(folder):
        raise UserError(
            f"The run folder must hold experiment.json or trials.csv, got {str(folder)!r}; "
            "name a folder that optimize.py wrote to, <runs_dir>/<dataset>/<strategy>."
        )
    metrics = _read_metrics(folder / BEST_MODEL / METRICS_FILE)
    return Run(
        folder=folder,
        experiment=_read_experiment(folder, metrics),
        trials=_read_trials(folder / "trials.csv"),
        epochs=read_rows(folder / "curves.csv", Epoch),
        split=read_rows(folder / "split.csv", SplitImage),
        predictions=read_rows(folder / "predictions.csv", Prediction),
        best=read_object(folder / "best.json", Best),
        metrics=metrics,
        audit=read_audit(folder),
        importances=read_rows(folder / "importance.csv", Importance),
        repeats=read_rows(folder / "repeats.csv", Repeat),
        known_images=read_object(folder / WARM_FILE, KnownImages),
        endings=read_objects(folder / ENDINGS_FILE, Ending),
        brought=read_objects(folder / WARM_FILE, Brought, BROUGHT),
        left_out=read_objects(folder / WARM_FILE, LeftOut, LEFT_OUT),
        calibration=read_calibration(folder / BEST_MODEL),
        speed=read_object(folder / BEST_MODEL / SPEED_FILE, Speed),
    )


def _read_experiment(folder: Path, metrics: ModelMetrics | None) -> Experiment:
    """Read experiment.json, or tell from the folder's name; labels.json has the class order."""
    path, labels = folder / "experiment.json", folder / BEST_MODEL / "labels.json"
    resolved = folder.resolve()
    told = read_json(path) or {"dataset": resolved.parent.name, "strategy": resolved.name}
    if labels.is_file():
        told = {**told, "classes": read_json(labels)}
    experiment = build(told, Experiment, path)
    known = len(metrics.validation.confusion) if metrics else len(experiment.classes)
    if known != len(experiment.classes):
        raise UserError(
            f"{labels} must name the {known} classes of metrics.json, got "
            f"{len(experiment.classes)}; repeat the command that wrote the run folder."
        )
    return experiment


def _read_metrics(path: Path) -> ModelMetrics | None:
    told = read_json(path)
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
        raise unreadable(path, error) from error


def _side_metrics(told: Any, tables: Any, side: str, path: Path) -> SideMetrics:
    return SideMetrics(
        dict(told[side]),
        tuple(build(row, ClassMetrics, path) for row in tables["per_class"]),
        tuple(tuple(int(count) for count in row) for row in tables["confusion"]),
        told.get("intervals", {}).get(side, {}),
        told.get("groups", {}).get(side),
        tuple(told.get("of_one_group", {}).get(side, ())),
    )


def _read_trials(path: Path) -> list[Trial]:
    """Return the trials, with what both phases have alike of the further axes told once."""
    trials = read_rows(path, Trial)
    further = told_once([trial.further for trial in trials])
    return [replace(trial, further=own) for trial, own in zip(trials, further, strict=True)]
