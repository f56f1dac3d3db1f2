"""Benchmarks as a user runs them, on a handful of tiny images and a tiny network."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))  # bench is no installed package: it runs from the repository


@pytest.fixture
def images(image_folder: Callable[..., Path]) -> Path:
    return image_folder(classes=3, per_class=12)


@pytest.fixture
def tiny(images: Path) -> list[str]:
    """Arguments of a benchmark that takes seconds."""
    return [
        *("--root", str(images), "--image-size", "32", "--batch-size", "8", "--epochs", "1"),
        *("--repeats", "1", "--models", "test_resnet"),
    ]


@pytest.fixture
def overrides(images: Path) -> list[str]:
    """Return those of a trial of that network on these images."""
    return [
        *("dataset=folder", f"dataset.root={images}", "split=random"),
        *("model=timm", "image_size=32"),
        *("model.name=test_resnet", "model.weights=random", "batch_size=8"),
        *("head.epochs=1", "finetune.epochs=1", "trainer.accelerator=cpu"),
    ]


@pytest.fixture
def config(overrides: list[str]) -> DictConfig:
    from tl_hpo.config import compose_trial

    return compose_trial(overrides)
