"""What is frozen: a function of (phase, delimiting layer) alone."""

from collections.abc import Sequence
from enum import StrEnum

from torch import nn

from tl_hpo.models.layers import Layer


class Phase(StrEnum):
    """The two phases of a trial."""

    HEAD = "head"  # only the classification block trains
    FINETUNE = "finetune"  # the layers from the delimiting layer on train, with the block


def frozen_layers(layers: Sequence[Layer], phase: Phase, delimiting_layer: int) -> Sequence[Layer]:
    """Return the layers that stay frozen: all in the head phase, else those before ``d``."""
    return layers if phase is Phase.HEAD else layers[:delimiting_layer]


def frozen_modules(backbone: nn.Module, layers: Sequence[Layer], n_frozen: int) -> list[nn.Module]:
    """Return the modules of ``backbone`` that run frozen layers only, containers included.

    Modules that the trace does not know (identities) belong to the container around them.
    """
    trained = {path for layer in layers[n_frozen:] for path in _owning_modules(layer)}
    known = trained | {path for layer in layers[:n_frozen] for path in _owning_modules(layer)}
    frozen: dict[str, nn.Module] = {}
    for path, module in backbone.named_modules():  # containers come before what they hold
        if n_frozen == len(layers):
            frozen[path] = module
        elif _reaches(path, trained):
            continue
        elif _reaches(path, known) or path.rpartition(".")[0] in frozen:
            frozen[path] = module
    return list(frozen.values())


def _reaches(path: str, names: set[str]) -> bool:
    """Tell whether the module at ``path`` is, or holds, one of ``names``."""
    inside = f"{path}." if path else ""
    return path in names or any(name.startswith(inside) for name in names)


def _owning_modules(layer: Layer) -> set[str]:
    """Return the paths of the modules whose mode the layer depends on."""
    return {*layer.modules, *(path.rpartition(".")[0] for path in layer.parameters)}


def set_trainable(backbone: nn.Module, frozen: Sequence[Layer]) -> None:
    """Make every parameter of ``backbone`` trainable but those of the ``frozen`` layers."""
    names = {path for layer in frozen for path in layer.parameters}
    for path, parameter in backbone.named_parameters():
        parameter.requires_grad_(path not in names)
        if path in names:
            parameter.grad = None
