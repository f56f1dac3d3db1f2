"""What a phase trains on: the images, or what frozen layers have made of them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tl_hpo.models.transfer import TransferModel

Features = Callable[..., Tensor]


@dataclass(frozen=True)
class Source:
    """Inputs of a phase, and the layers that are left to run.

    Attributes:
        inputs: [images, ...] each; batches of them go through ``features``.
        features: makes of the model what maps such batches to pooled features [batch, features].
        cut: the layer at which the inputs were taken; 0 for the images.

    """

    inputs: tuple[Tensor, ...]
    features: Callable[[TransferModel], Features]
    cut: int


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
    checksum: str
    bf16: bool
    delimiting_layer: int
    head_epochs: int
    finetune_epochs: int
