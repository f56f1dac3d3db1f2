"""Records real trials for `bench.table`: one process, one thread, what is frozen reused.

A search may never see the test side, so no trial measures it. Here the test images stand behind
the validation images of one joint side: every epoch is judged, and the best one chosen, by the
validation images alone, and the accuracy on the test images is noted beside it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import lightning as L
import numpy as np
from omegaconf import DictConfig

from bench.replay_table import FINETUNE, HEAD, OWN
from tl_hpo.config import compose_trial
from tl_hpo.models.classifier import PhaseTask
from tl_hpo.models.layers import layers_of
from tl_hpo.overrides import override
from tl_hpo.training import phases
from tl_hpo.training.callbacks import BestEpoch
from tl_hpo.training.result import HEAD_FILE, EpochRecord
from tl_hpo.training.trial import input_size, run_trial
from tl_hpo.training.worker import TrialData, Worker


@dataclass(frozen=True)
class Job:
    """Trials of one model, optimizer and learning rate.

    Attributes:
        model: overrides that choose it.
        name: of the model, in the table.
        start: ``own``: the block that the same optimizer and rate trained; ``best``: that of
            ``head_file``.
        depths: shares of the layers that stay frozen; none trains the block alone.

    """

    model: tuple[str, ...]
    name: str
    optimizer: str
    lr: float
    start: str = OWN
    depths: tuple[float, ...] = ()
    head_file: Path | None = None


class Recorder:
    """Runs jobs in this process.

    Args:
        shared: overrides of all trials.
        folder: of the store, and of the trained blocks.

    """

    def __init__(self, shared: Sequence[str], folder: Path) -> None:
        self.shared = [*shared, override("store.dir", str(folder / "store"))]
        self.folder = folder
        self.worker = _JointWorker(compose_trial(self.shared))

    def run(self, job: Job) -> list[dict[str, Any]]:
        """Return the rows of a job, one per epoch."""
        if not job.depths:
            return self._trial(job, HEAD, 1.0, ["finetune.epochs=0"])
        start = []
        if job.head_file is not None:
            start = ["head.epochs=0", override("head.weights", str(job.head_file))]
        return [row for depth in job.depths for row in self._trial(job, FINETUNE, depth, start)]

    def head_file(self, job: Job) -> Path:
        """Return where the block that a job trained is kept."""
        return self.folder / "heads" / f"{job.name}-{job.optimizer}-{job.lr}" / HEAD_FILE

    def about(self, models: Sequence[str]) -> dict[str, Any]:
        """Return what a replay has to know: layers of the models, share of the largest class."""
        config = compose_trial(self.shared)
        data = self.worker.data(config, input_size(config))
        validation = data.table.labels[data.split.validation[: self.worker.n_validation]]
        return {
            "layers": {name: len(layers_of(name, input_size(config))) for name in models},
            "majority_share": float(np.bincount(validation).max() / len(validation)),
            "validation_images": self.worker.n_validation,
            "test_images": len(data.split.validation) - self.worker.n_validation,
        }

    def _trial(
        self, job: Job, phase: str, depth: float, own: Sequence[str]
    ) -> list[dict[str, Any]]:
        config = self._config(job, depth, own)
        self.worker.data(config, input_size(config))  # tells where the test images begin
        watch = Watch(self.worker.n_validation)
        reports: list[EpochRecord] = []

        def report(record: EpochRecord) -> bool:
            if record.phase == phase:
                reports.append(record)
            return False

        folder = self.head_file(job).parent if phase == HEAD else None
        with watch.watching():
            run_trial(
                config,
                folder,
                report=report,
                keep_model=lambda result: False,
                worker=self.worker,
            )
        told = [each for each in watch.epochs if each["phase"] == phase]
        identity = {"model": job.name, "optimizer": job.optimizer, "lr": job.lr}
        return [
            {**identity, "start": job.start, "depth": depth, **row, "validation": r.val_accuracy}
            for row, r in zip(told, reports, strict=True)
        ]

    def _config(self, job: Job, depth: float, own: Sequence[str]) -> DictConfig:
        chosen = [f"optimizer={job.optimizer}", f"optimizer.lr={job.lr!r}"]
        layer = f"delimiting_layer={depth!r}"
        return compose_trial([*self.shared, *job.model, *chosen, layer, *own])


class Watch:
    """Notes the epochs that are trained, their accuracy on the test images, and their time."""

    def __init__(self, validation: int) -> None:
        self.validation = validation
        self.epochs: list[dict[str, Any]] = []

    def watching(self) -> Any:
        """Return a context in which phases tell this watch of their epochs."""
        return mock.patch.object(phases, "BestEpoch", self._make)

    def _make(self, *args: Any, **kwargs: Any) -> BestEpoch:
        return _JointBestEpoch(self, *args, **kwargs)


class _JointBestEpoch(BestEpoch):
    """Judges by the validation images, which come first, and notes the test images."""

    def __init__(self, watch: Watch, phase: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(phase, *args, **kwargs)
        self._watch = watch
        self._since = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        self._since = time.process_time()

    def _record(self, task: PhaseTask) -> EpochRecord:
        n, now = self._watch.validation, time.process_time()
        wrong = task.predicted[n:] != task.target[n:]
        seen = SimpleNamespace(
            predicted=task.predicted[:n],
            target=task.target[:n],
            model=task.model,
            train_loss=task.train_loss,
            val_loss=task.val_loss,
        )
        record = super()._record(cast(PhaseTask, seen))
        self._watch.epochs.append(
            {
                "phase": record.phase,
                "epoch": record.epoch,
                "test": 1.0 - wrong.double().mean().item(),
                "seconds": now - self._since,
            }
        )
        self._since = now
        return record


class _JointWorker(Worker):
    """Puts the test images behind the validation images of one side."""

    n_validation = 0

    def data(self, config: DictConfig, size: tuple[int, int]) -> TrialData:
        found = super().data(config, size)
        split = found.split
        self.n_validation = len(split.validation)
        joint = np.concatenate([split.validation, split.test])
        return replace(found, split=replace(split, validation=joint, test=split.test[:0]))
