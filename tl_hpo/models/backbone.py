"""Backbones: timm's models without their classification block, ending in pooled features."""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import timm
import torch
from torch import nn

from tl_hpo.errors import UserError, unknown


def check_known(name: str) -> None:
    """Raise UserError, with the nearest names, unless timm has a model ``name``."""
    if not isinstance(name, str):
        raise UserError(f"model.name must be the name of a timm model, got {name!r}.")
    if not timm.is_model(name):
        raise unknown("model.name", name, timm.list_models())
    try:
        known = timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag of weights, NAME.TAG, that does not exist
        raise UserError(
            f"model.name must be a model with one of timm's tags of weights, got {name!r} "
            f"({error}); leave the tag out."
        ) from error
    if known is None and name not in timm.list_models():
        _refuse_former(name)


def _refuse_former(name: str) -> NoReturn:
    """Raise UserError for a name that timm has changed: it knows no size or classifier by it."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which says what is said here
        current = timm.create_model(name).pretrained_cfg
    now = ".".join(filter(None, (current["architecture"], current.get("tag"))))
    raise UserError(
        f"model.name must be a name that timm uses, got {name!r}, a former one; "
        f"set model.name={now}."
    )


def create(name: str, image_size: tuple[int, int] | None = None, **arguments: Any) -> nn.Module:
    """Return timm's ``name`` without its classifier: images to pooled features [batch, features].

    The global average pooling is timm's. The VGGs lose their two dense 4096-wide layers, which
    belong to the old classification block. Further ``arguments`` go to ``timm.create_model``;
    without them the weights are random.
    """
    return create_from(name, image_size, **arguments)[0]


def create_from(
    name: str, image_size: tuple[int, int] | None = None, **arguments: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """Return what `create` does, and the arguments that shape it, for ``timm.create_model``."""
    check_known(name)
    shaping: dict[str, Any] = {"global_pool": "avg"}
    if image_size is not None and pretrained_config(name).get("fixed_input_size"):
        shaping["img_size"] = image_size
    try:
        backbone = timm.create_model(name, num_classes=0, **shaping, **arguments)
    except (TypeError, AssertionError, ValueError):  # these know no pooling but their own
        del shaping["global_pool"]
        backbone = timm.create_model(name, num_classes=0, **shaping, **arguments)
    if getattr(backbone, "pre_logits", None) is not None:
        backbone.pre_logits = nn.Identity()
    return backbone, shaping


def create_on_meta(name: str, image_size: tuple[int, int] | None = None) -> nn.Module:
    """Return the backbone ``name`` without memory for its weights."""
    with torch.device("meta"):
        return create(name, image_size)


def pretrained_config(name: str) -> Mapping[str, Any]:
    """Return what timm says of the default weights of ``name``: sizes, normalisation, classifier.

    Raises:
        UserError: there is no such model.

    """
    check_known(name)
    config = timm.models.get_pretrained_cfg(name)
    return config.to_dict() if config is not None else {}


def default_size(name: str) -> tuple[int, int]:
    """Return height and width, in pixels, of the images that the weights were trained on."""
    _, height, width = pretrained_config(name).get("input_size", (3, 224, 224))
    return height, width


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, for values in [0, 1]."""
    config = pretrained_config(name)
    return (
        tuple(config.get("mean", (0.485, 0.456, 0.406))),
        tuple(config.get("std", (0.229, 0.224, 0.225))),
    )


@lru_cache(maxsize=32)
def feature_count(name: str, image_size: tuple[int, int]) -> int:
    """Return the width of the pooled features."""
    backbone = create_on_meta(name, image_size).eval()
    with torch.no_grad():
        return int(backbone(torch.empty(2, 3, *image_size, device="meta")).shape[-1])


def check_image_size(value: Any) -> tuple[int, int] | None:
    """Return ``image_size`` as (height, width), or None where it follows the weights.

    Raises:
        UserError: it is no positive integer.

    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"image_size must be a positive integer of pixels, got {value!r}.")
    return value, value
