"""The weights that a backbone starts from: ImageNet's, random ones, or a file."""

import logging
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tl_hpo.errors import UserError
from tl_hpo.models.backbone import create, pretrained_config

logger = logging.getLogger(__name__)

PROBE_SECONDS = 10.0  # long enough for a slow proxy, short beside the hub's own minute of retries
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def build_backbone(name: str, weights: str, image_size: tuple[int, int]) -> nn.Module:
    """Return the backbone ``name`` with ``weights``: ``imagenet``, ``random`` or a file.

    Random weights are drawn from torch's global generator.

    Raises:
        UserError: unknown name, no network, or a file that does not fit.

    """
    if weights == "imagenet":
        return _imagenet(name, image_size)
    backbone = create(name, image_size)
    if weights != "random":
        load_weights(backbone, name, Path(weights))
    return backbone


def _imagenet(name: str, image_size: tuple[int, int]) -> nn.Module:
    config = pretrained_config(name)
    repository = config.get("hf_hub_id")
    cached = cached_weights(repository) if repository else None
    if cached is not None:  # asks no server, so that a machine once prepared works offline
        return _of_cached_file(name, image_size, cached)
    if not hub_answers():
        raise _no_weights(name, f"{constants.ENDPOINT} does not answer")
    logger.info("Fetching the ImageNet weights of %s", name)
    try:
        return create(name, image_size, pretrained=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _no_weights(name, _first_line(error)) from error


def _of_cached_file(name: str, image_size: tuple[int, int], path: Path) -> nn.Module:
    try:
        return create(name, image_size, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the readers raise nearly anything on damaged files
        raise UserError(
            f"model.weights=imagenet must find a readable file of tensors, got {str(path)!r} "
            f"({_first_line(error)}); remove it to fetch it again, or give "
            "model.weights=FILE.safetensors."
        ) from error


def _no_weights(name: str, reason: str) -> UserError:
    return UserError(
        f"model.weights=imagenet must be able to fetch the weights of {name!r}, got no file "
        f"({reason}); connect to the network, or give model.weights=FILE.safetensors, or random."
    )


def cached_weights(repository: str) -> Path | None:
    """Return the file that an earlier run fetched from the hub, if any."""
    for filename in _HUB_FILES:
        found = try_to_load_from_cache(repository, filename)
        if isinstance(found, str):
            return Path(found)
    return None


def hub_answers() -> bool:
    """Tell within a few seconds whether the hub of the weights can be reached."""
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False


def load_weights(backbone: nn.Module, name: str, path: Path) -> None:
    """Load a file into ``backbone``; the classifier in it may be missing or of another size.

    No code in the file is executed.

    Raises:
        UserError: no such file, unreadable, or of another architecture (which keys differ).

    """
    state = _without_classifier(read_state(path), name)
    expected = backbone.state_dict()
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in expected]
    shapes = [k for k in state if k in expected and state[k].shape != expected[k].shape]
    if missing or extra or shapes:
        raise UserError(
            f"model.weights must be a file of the architecture {name!r}, got {str(path)!r}: "
            f"{_some('missing', missing)}, {_some('unexpected', extra)}, "
            f"{_some('of another shape', shapes)}; give the model that the file belongs to."
        )
    backbone.load_state_dict(state, strict=False)


def _some(what: str, keys: list[str]) -> str:
    return f"{len(keys)} keys {what}" + (f" ({', '.join(keys[:3])})" if keys else "")


def check_weights(weights: str) -> None:
    """Raise UserError unless they are known by name, or a file that may hold some."""
    if weights not in ("imagenet", "random"):
        check_file(Path(weights))


def check_file(path: Path) -> None:
    """Raise UserError unless there is a file of a kind that holds tensors."""
    if not path.is_file():
        raise UserError(
            f"model.weights must be imagenet, random or a file, got {str(path)!r}, "
            "which does not exist; check the path."
        )
    if path.suffix not in _SUFFIXES:
        raise UserError(
            f"model.weights must end in {', '.join(_SUFFIXES)}, got {path.name!r}; "
            "save the weights with safetensors."
        )


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a ``.safetensors`` or ``.pth`` file."""
    check_file(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _unwrapped(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # the readers raise nearly anything on damaged files
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"model.weights must be a readable file of tensors, got {str(path)!r} "
        f"({_first_line(error)}); save the weights with safetensors."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unwrapped(state: Any) -> dict[str, Tensor]:
    """Take the weights out of the checkpoints of common training loops."""
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError("no table of tensors in it")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _without_classifier(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefixes = tuple(f"{key}." for key in (*classifier_names(name), "pre_logits"))
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def classifier_names(name: str) -> tuple[str, ...]:
    """Return the paths of timm's own classifier in the model ``name``."""
    classifier = pretrained_config(name).get("classifier") or ()
    return (classifier,) if isinstance(classifier, str) else tuple(classifier)


@torch.no_grad()
def calibrate(backbone: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every BatchNorm the statistics of ``batches``: [batch, 3, height, width], normalised.

    With random weights the statistics are 0 and 1, and the features of a frozen network nearly
    dead. One pass in training mode replaces them by the plain average over all batches.
    """
    norms = [m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for a cumulative average
    was_training = backbone.training
    backbone.train()
    for batch in batches:
        backbone(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    backbone.train(was_training)
