"""The opponent: transfer learning as Lightning's documentation teaches it to a beginner.

Images are read through torchvision's ImageFolder in every epoch, by one loader process per core
that stays alive between epochs; frozen layers are those without ``requires_grad``; arithmetic is
fp32. What is switched off (logger, checkpoints, progress bar, summary, sanity check) would only
cost time. A trial has the split, batch size, epochs, optimizer and learning rate of `tl_hpo`'s.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import timm
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchmetrics import Accuracy
from torchvision import transforms
from torchvision.datasets import ImageFolder

from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable
from tl_hpo.models.backbone import normalisation
from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.models.layers import layers_of
from tl_hpo.training.phases import make_optimizer
from tl_hpo.training.trial import input_size

PHASES = ("head", "finetune")


class PlainClassifier(L.LightningModule):
    """Trains what ``requires_grad`` of a network: images to logits [batch, classes]."""

    def __init__(
        self,
        network: nn.Module,
        classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    ) -> None:
        super().__init__()
        self.network = network
        self.accuracy = Accuracy(task="multiclass", num_classes=classes)
        self.accuracies: list[float] = []
        self._optimizer = optimizer

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of (images [b, 3, H, W], labels [b])."""
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Count the right answers for (images [b, 3, H, W], labels [b])."""
        images, labels = batch
        self.accuracy(self.network(images), labels)

    def on_validation_epoch_end(self) -> None:
        """Note the accuracy of the epoch."""
        self.accuracies.append(float(self.accuracy.compute()))
        self.accuracy.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of what is not frozen."""
        return self._optimizer([p for p in self.parameters() if p.requires_grad])


def run_plain(config: DictConfig, table: ImageTable, split: Split) -> dict[str, float]:
    """Train one trial; return its ``seconds`` and the ``accuracy`` of its last phase's best epoch.

    What is frozen is looked up in `tl_hpo`'s list of layers, before the clock runs.
    """
    frozen = {phase: frozen_names(config, phase) for phase in PHASES}
    optimizers = {phase: make_optimizer(phase, config[phase].optimizer) for phase in PHASES}
    L.seed_everything(config.seed, verbose=False)
    began = time.perf_counter()
    network = build(config, len(table.classes))
    train, validation = make_loaders(config, table, split)
    accuracies: list[float] = []
    for phase in (phase for phase in PHASES if config[phase].epochs):
        freeze(network, frozen[phase])
        classifier = PlainClassifier(network, len(table.classes), optimizers[phase])
        with _quiet():
            make_trainer(config, phase).fit(classifier, train, validation)
        accuracies = classifier.accuracies
    return {"seconds": time.perf_counter() - began, "accuracy": max(accuracies)}


def build(config: DictConfig, classes: int) -> nn.Module:
    """Return the network with its weights and a new classifier."""
    weights = {"imagenet": {"pretrained": True}, "random": {}}.get(
        config.model.weights,
        {"pretrained": True, "pretrained_cfg_overlay": {"file": config.model.weights}},
    )
    return timm.create_model(config.model.name, num_classes=classes, **weights)


def frozen_names(config: DictConfig, phase: str) -> Collection[str]:
    """Return the parameters that are frozen: those before the delimiting layer, or all."""
    layers = layers_of(config.model.name, input_size(config))
    before = resolve_delimiting_layer(config.delimiting_layer, len(layers))
    count = len(layers) if phase == "head" else before
    return {name for layer in layers[:count] for name in layer.parameters}


def freeze(network: nn.Module, names: Collection[str]) -> None:
    """Freeze the parameters of these names and no others."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name not in names


def make_loaders(
    config: DictConfig, table: ImageTable, split: Split
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return batches of the training side, shuffled, and of the validation side."""
    folder = read_folder(config, table)
    places = {path: place for place, (path, _) in enumerate(folder.samples)}

    def loader(side: np.ndarray, shuffle: bool) -> DataLoader[Any]:
        return DataLoader(
            Subset(folder, [places[str(table.paths[index])] for index in side]),
            batch_size=config.batch_size,
            shuffle=shuffle,
            num_workers=len(os.sched_getaffinity(0)),
            persistent_workers=True,
            pin_memory=config.trainer.accelerator == "gpu",
        )

    return loader(split.train, True), loader(split.validation, False)


def read_folder(config: DictConfig, table: ImageTable) -> ImageFolder:
    """Return the images of the folder, to be decoded whenever they are asked for."""
    height, width = input_size(config)
    return ImageFolder(
        str(table.root),
        transforms.Compose(
            [
                transforms.Resize((height, width)),
                transforms.ToTensor(),
                transforms.Normalize(*normalisation(config.model.name)),
            ]
        ),
    )


def make_trainer(config: DictConfig, phase: str) -> L.Trainer:
    """Return a Trainer that does nothing beside training and validation."""
    return L.Trainer(
        max_epochs=config[phase].epochs,
        accelerator=config.trainer.accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks, the same in every trial, out of a benchmark's progress."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
