"""Trials on tiny images and a tiny network."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from tl_hpo.config import compose_trial
from tl_hpo.training.result import EpochRecord, TrialResult
from tl_hpo.training.trial import PreparedTrial, prepare, run_trial
from tl_hpo.training.worker import Worker


@pytest.fixture
def trial_config(image_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose a trial of a second or two; ``overrides`` come last."""
    root = image_folder(classes=3, per_class=12)

    def make(*overrides: str) -> DictConfig:
        return compose_trial(
            [
                "dataset=folder",
                f"dataset.root={root}",
                f"store.dir={tmp_path / 'store'}",
                "model=timm",
                "model.name=test_resnet",
                "model.weights=random",
                "image_size=32",
                "batch_size=8",
                "head.epochs=2",
                "finetune.epochs=2",
                "trainer.accelerator=cpu",
                "precision=32",
                "optimizer.lr=0.01",
                *overrides,
            ]
        )

    return make


@pytest.fixture
def prepared(trial_config: Callable[..., DictConfig]) -> Callable[..., PreparedTrial]:
    """Return the data and the untrained model of such a trial."""

    def make(*overrides: str) -> PreparedTrial:
        config = trial_config(*overrides)
        return prepare(config, Worker(config))

    return make


@pytest.fixture
def trial(
    trial_config: Callable[..., DictConfig], tmp_path: Path
) -> Callable[..., tuple[TrialResult, list[EpochRecord]]]:
    """Run such a trial in ``tmp_path / "trial"``; return its result and its epochs."""

    def run(
        *overrides: str, stop: Callable[[EpochRecord], bool] = lambda record: False
    ) -> tuple[TrialResult, list[EpochRecord]]:
        records: list[EpochRecord] = []

        def report(record: EpochRecord) -> bool:
            records.append(record)
            return stop(record)

        return run_trial(trial_config(*overrides), tmp_path / "trial", report=report), records

    return run
