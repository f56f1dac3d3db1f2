"""What a phase trains on: the images, or what frozen layers have made of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_hpo.models.transfer import TransferModel

Features = Callable[..., Tensor]


@dataclass(frozen=True)
class Samples:
    """The views of images that a trial needs: those it trains on and those it is judged by.

    Attributes:
        images: index of the image, int64 [samples].
        views: number of its view, int64 [samples].
        per_epoch: how many samples one epoch looks at.
        gather: (images [n, ...], indices [b], views [b]) to that batch, uint8 [b, ...].

    """

    images: Tensor
    views: Tensor
    per_epoch: int
    gather: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.images)

    def positions(self, n_images: int) -> Tensor:
        """Return where each view of each image stands among the samples, int64 [views, n_images].

        -1 for what no epoch needs.
        """
        found = torch.full((int(self.views.max()) + 1, n_images), -1)
        found[self.views, self.images] = torch.arange(len(self))
        return found


@dataclass(frozen=True)
class Source:
    """Inputs of a phase, and the layers that are left to run.

    Attributes:
        inputs: the images, or [samples, ...] each; batches of them go through ``features``.
        features: makes of the model what maps such batches to pooled features [batch, features].
        cut: the layer at which the inputs were taken; 0 for the images.
        positions: of the samples, see `Samples.positions`; None for the images.

    """

    inputs: tuple[Tensor, ...]
    features: Callable[[TransferModel], Features]
    cut: int
    positions: Tensor | None = None


def from_images(images: Tensor) -> Source:
    """Return the source that computes every layer in every epoch.

    ``images`` are uint8 [images, 3, height, width].
    """
    return Source((images,), lambda model: model.features, 0)


@dataclass(frozen=True)
class Request:
    """A trial, as far as its frozen layers go.

    Attributes:
        work: tells backbones apart by weights, images, precision and device.
        name: of the architecture.
        model: on its device, with its frozen weights.
        images: uint8 [images, 3, height, width].
        samples: what of them the trial needs.
        checksum: of the images.
        bf16: whether its training runs under autocast to bfloat16.
        delimiting_layer: 0..n.
        head_epochs: that the classification block trains for; 0 if it is not trained.
        finetune_epochs: likewise.

    """

    work: str
    name: str
    model: TransferModel
    images: Tensor
    samples: Samples
    checksum: str
    bf16: bool
    delimiting_layer: int
    head_epochs: int
    finetune_epochs: int

    def batch(self, rows: slice) -> Tensor:
        """Return the samples at ``rows``, uint8 [b, 3, height, width], where the images are."""
        samples = self.samples
        return samples.gather(self.images, samples.images[rows], samples.views[rows])
