"""The Lightning module of one phase."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import Metric

from tl_hpo.data.pieces import IGNORED
from tl_hpo.models.transfer import TransferModel

Batch = tuple[tuple[Tensor, ...], Tensor]
PieceOfBatch = tuple[tuple[Tensor, ...], Tensor, Tensor]
OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], Optimizer]


class MeanLoss(Metric):
    """The mean of losses, weighted by their images; one that is not finite makes it so too.

    torchmetrics' own mean leaves either the weights or what is not finite out.
    """

    total: Tensor
    images: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("total", torch.zeros(()), "sum")
        self.add_state("images", torch.zeros(()), "sum")

    def update(self, loss: Tensor, images: Tensor | int) -> None:
        """Take the mean ``loss`` of so many images."""
        self.total += loss * images
        self.images += images

    def compute(self) -> Tensor:
        """Return the mean over all images."""
        return self.total / self.images


class PhaseTask(L.LightningModule):
    """Trains what is not frozen in ``model``, by cross-entropy, with an optimizer of its own.

    After each validation ``predicted``, ``confidence`` and ``scores`` hold, on the host and in the
    order of the validation side, the predicted classes [images], their probabilities [images] and
    the log-probabilities of all classes [images, classes].

    Args:
        model: frozen as the phase wants it.
        features: maps the inputs of a batch, [b, ...] each, to pooled features [b, features]; the
            whole backbone, or what of it is behind a cut.
        optimizer: makes the optimizer from the trainable parameters.
        cosine_epochs: epochs over which the learning rate falls to zero along a cosine;
            None keeps it constant.
        class_weights: of the loss in training, [classes]; None weighs all images alike.
        pieces: that the batch of a step is computed in, and whose gradients are averaged: one
            after another by Lightning, or by several processes.

    """

    def __init__(
        self,
        model: TransferModel,
        features: Callable[..., Tensor],
        optimizer: OptimizerFactory,
        cosine_epochs: int | None = None,
        class_weights: Tensor | None = None,
        pieces: int = 1,
    ) -> None:
        super().__init__()
        self.model = model
        self.train_loss = MeanLoss()
        self.val_loss = MeanLoss(sync_on_compute=False)  # every process judges all images
        self.predicted = torch.empty(0, dtype=torch.long)
        self.target = torch.empty(0, dtype=torch.long)
        self.confidence = torch.empty(0)
        self.scores = torch.empty(0, 0)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._features = features
        self._make_optimizer = optimizer
        self._cosine_epochs = cosine_epochs
        self._pieces = pieces
        self._batches: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def _logits(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.model.head(self._features(*inputs)).float()

    def training_step(self, batch: Batch | PieceOfBatch, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of (inputs [b, ...] each, labels [b]).

        Of a piece of a batch, which has the labels of its whole step [s] besides, return its share
        in the mean over the step, times the number of pieces: it will be divided by that.
        """
        inputs, labels, *step = batch
        logits = self._logits(inputs)
        if step:
            return self._share(logits, labels, step[0])
        loss = F.cross_entropy(logits, labels, weight=self.class_weights)
        self.train_loss.update(loss.detach(), len(labels))
        return loss

    def _share(self, logits: Tensor, labels: Tensor, step: Tensor) -> Tensor:
        weights = self.class_weights
        total = len(step) if weights is None else weights[step].sum()
        summed = F.cross_entropy(
            logits, labels, weight=weights, ignore_index=IGNORED, reduction="sum"
        )
        share = summed / total
        counted = (labels != IGNORED).sum()
        # The shares of a step's pieces, weighted so, average to its loss weighted by its images.
        self.train_loss.update(share.detach() * len(step) / counted.clamp(min=1), counted)
        return share * self._pieces

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self.train_loss.reset()

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the epoch before."""
        self.val_loss.reset()
        self._batches = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep loss and predictions of (inputs [b, ...] each, labels [b]).

        Inputs of [views * b, ...], view by view, are judged by the mean of their probabilities.
        """
        inputs, labels = batch
        scores = _mean_over_views(self._logits(inputs).log_softmax(dim=1), len(labels))
        self.val_loss.update(F.nll_loss(scores, labels), len(labels))
        confidence, predicted = scores.exp().max(dim=1)
        self._batches.append((predicted, labels, confidence, scores))

    def on_validation_epoch_end(self) -> None:
        """Bring the predictions to the host, once per epoch."""
        parts = zip(*self._batches, strict=True)
        self.predicted, self.target, self.confidence, self.scores = (
            torch.cat(part).cpu() for part in parts
        )
        self._batches = []

    def configure_optimizers(self) -> Any:
        """Return the optimizer over the trainable parameters, and the scheduler, if any.

        Raises:
            RuntimeError: the optimizer would hold other parameters than the trainable ones.

        """
        trainable = list(self.model.trainable().values())
        optimizer = self._make_optimizer(trainable)
        check_same_parameters(trainable, optimizer)
        if self._cosine_epochs is None:
            return optimizer
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._cosine_epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def _mean_over_views(scores: Tensor, images: int) -> Tensor:
    """Map log-probabilities [views * images, classes], view by view, to those of the images."""
    views = len(scores) // images
    if views == 1:
        return scores
    return mean_probability(scores.view(views, images, -1))


def mean_probability(scores: Tensor) -> Tensor:
    """Map log-probabilities [views, ...] to those of the mean over the views, [...]."""
    return scores.logsumexp(dim=0) - math.log(len(scores))


def check_same_parameters(trainable: Iterable[torch.nn.Parameter], optimizer: Optimizer) -> None:
    """Raise RuntimeError unless ``optimizer`` holds exactly the ``trainable`` parameters."""
    wanted = {id(parameter) for parameter in trainable}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if wanted != held:
        raise RuntimeError(
            f"the optimizer must hold the {len(wanted)} trainable parameters, it holds "
            f"{len(held & wanted)} of them and {len(held - wanted)} others"
        )
