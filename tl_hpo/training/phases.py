"""One phase of a trial: one Lightning fit with its own optimizer, scheduler and Trainer."""

import logging
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import hydra.utils
import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf

from tl_hpo.data.module import ImageData
from tl_hpo.errors import UserError, unknown
from tl_hpo.models.classifier import OptimizerFactory, PhaseTask
from tl_hpo.models.freezing import Phase
from tl_hpo.models.reuse.source import Features
from tl_hpo.models.transfer import TransferModel
from tl_hpo.training.callbacks import (
    BestEpoch,
    Objective,
    PhaseProgress,
    Predictions,
    predictions_of,
)
from tl_hpo.training.devices import resolve_precision
from tl_hpo.training.group import ALONE, Group
from tl_hpo.training.imbalance import CLASS_WEIGHTS, class_weights
from tl_hpo.training.result import EpochRecord, PhaseSummary, Report

SCHEDULERS = ("constant", "cosine")

# What Lightning says of choices made here on purpose: in-memory data needs no loader workers.
_EXPECTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*module\\(s\\) in eval mode at the start of training.*",
    ".*The number of training batches.*smaller than the logging interval.*",
    ".*The `srun` command is available on your system but is not used.*",
    ".*`broadcast_buffers` is deprecated.*",  # its successor is not there before torch 2.14
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


@dataclass(frozen=True)
class PhaseOutcome:
    """What came of a phase.

    Attributes:
        summary: its length.
        records: of its epochs.
        predictions: those of the model as it is left, for the validation side.
        reason: why it ended early: ``diverged``, ``early cancel`` or empty.

    """

    summary: PhaseSummary
    records: tuple[EpochRecord, ...]
    predictions: Predictions
    reason: str


def run_phase(
    phase: Phase,
    model: TransferModel,
    features: Features,
    data: ImageData,
    config: DictConfig,
    *,
    objective: Objective,
    report: Report,
    delimiting_layer: int,
    earlier_epochs: int = 0,
    group: Group = ALONE,
) -> PhaseOutcome:
    """Train ``model`` for one phase and leave it with the weights of the best epoch.

    Args:
        features: maps what ``data`` holds to pooled features.
        config: a trial's configuration; ``config[phase]`` has epochs, patience, scheduler and
            optimizer.
        earlier_epochs: epochs that the trial spent before this phase.
        group: that trains the trial; every process of it calls this with its share of ``data``.

    """
    settings = config[phase.value]
    # Whatever ran, or was reused, before it; dropout differs between processes as between images.
    L.seed_everything(config.seed + group.rank, verbose=False)
    model.freeze(phase, delimiting_layer)
    watcher = BestEpoch(
        phase.value,
        objective,
        data.majority_share,
        report,
        earlier_epochs=earlier_epochs,
        earlier_steps=config.head.epochs if phase is Phase.FINETUNE else 0,
        patience=settings.patience,
        group=group,
    )
    task = PhaseTask(
        model,
        features,
        make_optimizer(phase.value, settings.optimizer),
        cosine_epochs=settings.epochs if settings.scheduler == "cosine" else None,
        class_weights=_class_weights(model, data, config),
        pieces=config.accumulate * group.size,
    )
    callbacks = [watcher, PhaseProgress(phase.value, watcher)]
    trainer = make_trainer(config, settings.epochs, callbacks, group)
    started = time.monotonic()
    with _quiet():
        task.train()
        _fit(trainer, task, data)
        watcher.restore(model)
        if watcher.predictions is None:  # not one epoch was finite: judge what it started with
            trainer.validate(task, datamodule=data, verbose=False)
    model.zero_grad(set_to_none=True)
    reason = "diverged" if watcher.diverged else "early cancel" if watcher.cancelled else ""
    return PhaseOutcome(
        PhaseSummary(watcher.epochs, time.monotonic() - started),
        tuple(watcher.records),
        watcher.predictions or predictions_of(task),
        reason,
    )


def _class_weights(
    model: TransferModel, data: ImageData, config: DictConfig
) -> torch.Tensor | None:
    if config.imbalance != CLASS_WEIGHTS:
        return None
    return class_weights(data.labels[data.split.train], model.head.out_features)


def _fit(trainer: L.Trainer, task: PhaseTask, data: ImageData) -> None:
    """Fit; Lightning answers Ctrl-C by leaving the process, which is for the command to decide."""
    try:
        trainer.fit(task, datamodule=data)
    except SystemExit as exit_:
        if isinstance(exit_.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from exit_
        raise


def judge(
    model: TransferModel, features: Features, data: ImageData, config: DictConfig, side: str
) -> Predictions:
    """Return the predictions of ``model`` for the ``validation`` or ``test`` side of ``data``."""
    task = PhaseTask(model, features, partial(torch.optim.SGD, lr=0.0))
    loader = data.val_dataloader() if side == "validation" else data.test_dataloader()
    with _quiet():
        make_trainer(config, 1, []).validate(task, dataloaders=loader, verbose=False)
    return predictions_of(task)


def check_phase(phase: str, settings: DictConfig) -> None:
    """Raise UserError for settings of a phase that cannot work."""
    if not OmegaConf.is_dict(settings):
        raise UserError(f"{phase} must be a table of settings, got {settings}; see --cfg job.")
    if not isinstance(settings.epochs, int) or settings.epochs < 0:
        raise UserError(f"{phase}.epochs must be an integer of at least 0, got {settings.epochs}.")
    patience = settings.patience
    if patience is not None and (not isinstance(patience, int) or patience < 1):
        raise UserError(
            f"{phase}.patience must be an integer of at least 1, or null for no limit, "
            f"got {patience}."
        )
    if settings.scheduler not in SCHEDULERS:
        raise unknown(f"{phase}.scheduler", settings.scheduler, SCHEDULERS)
    check_learning_rate(f"{phase}.optimizer.lr", settings.optimizer.lr)


def check_learning_rate(key: str, value: Any) -> None:
    """Raise UserError unless ``value`` is a positive finite number."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise UserError(
            f"{key} must be a positive number, got {value}; the paper searched 0.0001 to 1."
        )


def make_optimizer(phase: str, settings: DictConfig) -> OptimizerFactory:
    """Return what makes the configured optimizer from parameters.

    Raises:
        UserError: the optimizer does not take these settings, or is none.

    """
    arguments: Any = OmegaConf.to_container(settings, resolve=True)
    probe = torch.nn.Parameter(torch.zeros(1))
    try:
        # Not `instantiate`, which would call whatever is named, here or deeper down.
        optimizer = hydra.utils.get_class(arguments["_target_"])
        if not issubclass(optimizer, torch.optim.Optimizer):
            raise TypeError("it is no torch.optim.Optimizer")
        own = {str(key): value for key, value in arguments.items() if key != "_target_"}
        factory: OptimizerFactory = partial(optimizer, **own)
        factory([probe])
    except Exception as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(
            f"{phase}.optimizer must be settings that {arguments.get('_target_')} takes, got "
            f"{ {k: v for k, v in arguments.items() if k != '_target_'} } ({reason})."
        ) from error
    return factory


def make_trainer(
    config: DictConfig, epochs: int, callbacks: list[L.Callback], group: Group = ALONE
) -> L.Trainer:
    """Return a Trainer on the configured device that writes and prints nothing itself."""
    progress = config.trainer.progress
    with _quiet():
        return L.Trainer(
            max_epochs=epochs,
            accumulate_grad_batches=config.accumulate,
            accelerator=config.trainer.accelerator,
            deterministic=config.trainer.deterministic,
            precision=resolve_precision(config.precision, config.trainer.accelerator),
            callbacks=[c for c in callbacks if progress or not isinstance(c, PhaseProgress)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            **group.trainer_settings(),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks on the chosen set-up from the user, and nothing else."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
