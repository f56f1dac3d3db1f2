"""A small trained model, for tests of what is done with one."""

from pathlib import Path

import numpy as np
from PIL import Image

from tl_hpo.cli.entry import register_resolvers
from tl_hpo.config import compose_trial
from tl_hpo.data.split import write_split
from tl_hpo.training.trial import run_trial
from tl_hpo.training.worker import Worker

CLASSES = ("path", "polyp, flat", "normal")


def train(folder: Path, *overrides: str) -> Path:
    """Train on images that are hard to tell apart; return the run folder, as train.py writes it.

    The images lie in ``folder / "images"``.
    """
    root = folder / "images"
    _write_images(root)
    register_resolvers()
    config = compose_trial(
        [
            "dataset=folder", f"dataset.root={root}", f"store.dir={folder / 'store'}",
            "split.groups=none", "model=timm", "model.name=test_resnet", "model.weights=random",
            "image_size=64", "batch_size=8", "head.epochs=3", "finetune.epochs=1",
            "optimizer.lr=0.01", "trainer.accelerator=cpu", "precision=32", *overrides,
        ]
    )  # fmt: skip
    run = folder / "run"
    run.mkdir()
    worker = Worker(config)
    data = worker.data(config, (64, 64))
    write_split(run / "split.csv", data.table, data.split)
    run_trial(config, run, worker=worker, test=True)
    return run


def _write_images(root: Path) -> None:
    generator = np.random.default_rng(0)
    for index, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(16):
            pixels = generator.normal(120, 60, (40, 56, 3))
            pixels[..., index] += generator.normal(18, 18)
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / name / f"{number}.png")
