"""A trained model as a folder: weights, configuration, labels, metrics, predictions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError
from tl_hpo.files import replacing, write_json, write_text
from tl_hpo.models.backbone import create
from tl_hpo.models.layers import layers_of
from tl_hpo.models.transfer import Normalise, TransferModel, classification_block
from tl_hpo.models.weights import classifier_names
from tl_hpo.tensors import save_tensors
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.judgement import write_judgement

WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "config.yaml"


def save_model(
    folder: Path,
    model: TransferModel,
    config: DictConfig,
    size: tuple[int, int],
    table: ImageTable,
    split: Split,
    predictions: Mapping[str, Predictions],
) -> None:
    """Write ``model`` to ``folder``, whole or not at all.

    ``size`` is (height, width) of its input; ``predictions`` are those for each side.
    """
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        save_tensors(_timm_state(model, config.model.name), temporary / WEIGHTS_FILE)
        write_text(temporary / DESCRIPTION_FILE, _describe(model, config, size))
        write_json(temporary / "labels.json", list(table.classes))
        write_judgement(temporary, table, split, predictions)


def _timm_state(model: TransferModel, name: str) -> dict[str, Tensor]:
    """Return the weights under timm's names, the classification block as timm's classifier."""
    classifier = next(iter(classifier_names(name)), "head")
    state = dict(model.backbone.state_dict())
    state |= {f"{classifier}.{key}": value for key, value in model.head.state_dict().items()}
    return state


def _describe(model: TransferModel, config: DictConfig, size: tuple[int, int]) -> str:
    scale = 255.0
    plain: Any = OmegaConf.to_container(config, resolve=True)  # a logger's address may be secret
    described = {
        "input": {
            "height": size[0],
            "width": size[1],
            "mean": [round(v / scale, 6) for v in model.normalise.mean.flatten().tolist()],
            "std": [round(v / scale, 6) for v in model.normalise.std.flatten().tolist()],
        },
        "trial": {key: value for key, value in plain.items() if key != "logger"},
    }
    return OmegaConf.to_yaml(OmegaConf.create(described))


def load_model(folder: Path) -> tuple[TransferModel, list[str]]:
    """Return the model in ``folder`` in evaluation mode, and its class names in index order.

    Raises:
        UserError: the folder holds no model, or one that cannot be read.

    """
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(
            f"the folder of a model must hold {WEIGHTS_FILE}, got {str(folder)!r}; "
            "give the best_model folder of a finished experiment."
        )
    try:
        return _read(folder)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the readers raise nearly anything on files that are not ours
        first = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"the folder of a model must be as it was written, got {str(folder)!r} "
            f"({type(error).__name__}: {first}); give the best_model folder of an experiment."
        ) from error


def read_description(folder: Path) -> dict[str, Any]:
    """Return config.yaml of a model's folder: ``input`` (size, mean, std) and ``trial``.

    Plain: what a stranger's file says of the environment, `${oc.env:...}`, stays text.
    """
    described: Any = OmegaConf.to_container(OmegaConf.load(folder / DESCRIPTION_FILE))
    return described


def _read(folder: Path) -> tuple[TransferModel, list[str]]:
    described = read_description(folder)
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    name, taken = described["trial"]["model"]["name"], described["input"]
    size = (taken["height"], taken["width"])
    backbone = create(name, size)
    classifier = next(iter(classifier_names(name)), "head")
    state = load_file(folder / WEIGHTS_FILE)
    weight = state.pop(f"{classifier}.weight")
    head = classification_block(weight.shape[1], len(labels))
    head.load_state_dict({"weight": weight, "bias": state.pop(f"{classifier}.bias")})
    backbone.load_state_dict(state)
    normalise = Normalise(taken["mean"], taken["std"])
    model = TransferModel(backbone, layers_of(name, size), head, normalise)
    model.to(memory_format=torch.channels_last)
    return model.eval(), labels
