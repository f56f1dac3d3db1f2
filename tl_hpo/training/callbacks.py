"""What watches the epochs of a phase: best weights, divergence, early end, progress."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import lightning as L
import torch
from torch import Tensor
from tqdm.auto import tqdm

from tl_hpo.models.classifier import PhaseTask
from tl_hpo.models.transfer import TransferModel
from tl_hpo.training.group import ALONE, Group
from tl_hpo.training.metrics import summarise
from tl_hpo.training.result import EpochRecord, Report

Objective = Callable[[dict[str, float]], float]


@dataclass(frozen=True)
class Predictions:
    """What the model says of the images of one side, in their order; tensors of [images].

    Attributes:
        scores: log-probabilities [images, classes]; None where they are not known any more.

    """

    predicted: Tensor
    target: Tensor
    confidence: Tensor
    scores: Tensor | None = None


def predictions_of(task: PhaseTask) -> Predictions:
    """Return the predictions of the validation that ``task`` ran last."""
    return Predictions(task.predicted, task.target, task.confidence, task.scores)


class BestEpoch(L.Callback):
    """Keeps the weights of the best epoch, reports every epoch, and ends a lost phase.

    A phase ends early when the loss is no longer finite (``diverged``), when ``report`` asks for
    it (``cancelled``), or when ``patience`` epochs brought nothing better.

    Args:
        earlier_epochs: that the trial has trained before this phase.
        earlier_steps: epochs that were planned before this phase.
        group: that trains the trial; what rank 0 makes of an epoch holds for all.

    Attributes:
        best: record of the best epoch, or None when no epoch had a finite loss.
        predictions: those of the best epoch.
        records: of all epochs that were finished.

    """

    def __init__(
        self,
        phase: str,
        objective: Objective,
        majority_share: float,
        report: Report,
        earlier_epochs: int = 0,
        earlier_steps: int = 0,
        patience: int | None = None,
        group: Group = ALONE,
    ) -> None:
        self.best: EpochRecord | None = None
        self.predictions: Predictions | None = None
        self.records: list[EpochRecord] = []
        self.diverged = False
        self.cancelled = False
        self._phase = phase
        self._objective = objective
        self._majority_share = majority_share
        self._report = report
        self._earlier_epochs = earlier_epochs
        self._earlier_steps = earlier_steps
        self._patience = patience
        self._group = group
        self._weights: dict[str, Tensor] = {}
        self._learning_rate: float | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the weights that the phase starts with, should no epoch be any good."""
        self._weights = _changeable(cast(PhaseTask, pl_module).model)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the learning rate; a scheduler changes it before the epoch is judged."""
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the epoch; its validation is over by now."""
        task = cast(PhaseTask, pl_module)
        record = self._group.share(self._record(task))
        self.records.append(record)
        self.diverged = not (math.isfinite(record.train_loss) and math.isfinite(record.val_loss))
        if not self.diverged and (self.best is None or record.objective > self.best.objective):
            self.best = record
            self.predictions = predictions_of(task)
            self._weights = _changeable(task.model)
        self.cancelled = self._group.share(self._report(record))
        if self.diverged or self.cancelled or self._patience_is_over():
            trainer.should_stop = True

    @property
    def epochs(self) -> int:
        """Return the number of epochs that were finished."""
        return len(self.records)

    def restore(self, model: TransferModel) -> None:
        """Put the weights of the best epoch back."""
        with torch.no_grad():
            state = model.state_dict()
            for name, value in self._weights.items():
                state[name].copy_(value)

    def _record(self, task: PhaseTask) -> EpochRecord:
        summary = summarise(task.predicted, task.target, task.model.head.out_features)
        return EpochRecord(
            phase=self._phase,
            epoch=self.epochs + 1,
            number=self._earlier_epochs + self.epochs + 1,
            step=self._earlier_steps + self.epochs + 1,
            train_loss=float(task.train_loss.compute()),
            val_loss=float(task.val_loss.compute()),
            val_accuracy=summary["accuracy"],
            objective=self._objective(summary),
            majority_share=self._majority_share,
            learning_rate=self._learning_rate,
        )

    def _patience_is_over(self) -> bool:
        if self._patience is None or self.best is None:
            return False
        return self.epochs - self.best.epoch >= self._patience


def _changeable(model: TransferModel) -> dict[str, Tensor]:
    """Copy what training may change: trainable parameters, and all buffers."""
    names = {*model.trainable(), *(name for name, _ in model.named_buffers())}
    return {n: v.detach().clone() for n, v in model.state_dict().items() if n in names}


class PhaseProgress(L.Callback):
    """One bar per phase that a person can read; none when the output is no terminal."""

    def __init__(self, phase: str, watcher: BestEpoch) -> None:
        self._phase = phase
        self._watcher = watcher
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar over all batches of the phase."""
        self._bar = tqdm(
            total=int(trainer.num_training_batches) * int(trainer.max_epochs or 0),
            desc=self._phase,
            unit="batch",
            leave=False,
            disable=None,  # none where the output is no terminal
        )

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """Move on by a batch."""
        if self._bar is not None:
            self._bar.update()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell the epoch and the best accuracy so far."""
        best = self._watcher.best
        if self._bar is not None and best is not None:
            self._bar.set_postfix_str(
                f"epoch {self._watcher.epochs}/{trainer.max_epochs}, "
                f"best validation accuracy {best.val_accuracy:.3f}"
            )

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message stands on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
