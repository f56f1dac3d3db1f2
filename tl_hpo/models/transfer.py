"""The network of a trial: a backbone, its frozen prefix, and a new classification block."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tl_hpo.errors import UserError
from tl_hpo.files import replacing
from tl_hpo.models.freezing import Phase, frozen_layers, frozen_modules, set_trainable
from tl_hpo.models.layers import Layer
from tl_hpo.tensors import save_tensors


def classification_block(features: int, classes: int) -> nn.Linear:
    """Return a new dense layer as Keras starts it: Glorot-uniform weights, zero bias."""
    head = nn.Linear(features, classes)
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class Normalise(nn.Module):
    """Turns 8-bit images into what the weights expect: (image / 255 - mean) / std."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 [batch, 3, height, width] to float of the same shape."""
        return (images.to(self.mean.dtype) - self.mean) / self.std


class TransferModel(nn.Module):
    """A backbone with a classification block, of which a part is frozen.

    Frozen layers are in evaluation mode whatever mode the model is put in, so that neither their
    parameters nor their buffers ever change.

    Args:
        backbone: images to pooled features [batch, features].
        layers: its layers, in execution order.
        head: pooled features to logits [batch, classes].
        normalise: 8-bit images to the backbone's input.

    """

    def __init__(
        self, backbone: nn.Module, layers: Sequence[Layer], head: nn.Linear, normalise: Normalise
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.head = head
        self.layers = tuple(layers)
        self._frozen: list[nn.Module] = []

    def freeze(self, phase: Phase, delimiting_layer: int) -> None:
        """Freeze what ``phase`` and the delimiting layer (0..n) say, and nothing else."""
        frozen = frozen_layers(self.layers, phase, delimiting_layer)
        set_trainable(self.backbone, frozen)
        self._frozen = frozen_modules(self.backbone, self.layers, len(frozen))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything that is not frozen."""
        super().train(mode)
        for module in self._frozen:
            module.training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images [batch, 3, height, width] to logits [batch, classes]."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Map uint8 images [batch, 3, height, width] to pooled features [batch, features]."""
        return self.backbone(self.normalise(images))

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that train, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def save_head(head: nn.Linear, path: Path) -> None:
    """Write the classification block, whole or not at all."""
    with replacing(path) as temporary:
        save_tensors(head.state_dict(), temporary)


def load_head(head: nn.Linear, path: Path) -> None:
    """Load a classification block that ``save_head`` wrote.

    Raises:
        UserError: no such file, or a block of another size.

    """
    if not path.is_file():
        raise UserError(
            f"head.weights must be a trained classification block, got {str(path)!r}, "
            "which does not exist; check the path, or leave it out to train one."
        )
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"head.weights must be a safetensors file, got {str(path)!r} ({error}); give the "
            "head.safetensors of a trial."
        ) from error
    shape = tuple(state["weight"].shape) if "weight" in state else None
    if shape != tuple(head.weight.shape):
        raise UserError(
            f"head.weights must be a block of {head.out_features} classes on {head.in_features} "
            f"features, got one of shape {shape}; give the block of this model and dataset."
        )
    head.load_state_dict(state)
