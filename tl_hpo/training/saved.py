"""A trained model as a folder: weights, configuration, labels, metrics, predictions."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor

from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError
from tl_hpo.files import replacing, write_csv, write_json, write_text
from tl_hpo.models.backbone import create
from tl_hpo.models.layers import layers_of
from tl_hpo.models.transfer import Normalise, TransferModel, classification_block
from tl_hpo.models.weights import classifier_names
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.metrics import confusion_matrix, headline, per_class, summarise

PREDICTION_COLUMNS = ("path", "label", "predicted", "confidence", "side")


def save_model(
    folder: Path,
    model: TransferModel,
    config: DictConfig,
    size: tuple[int, int],
    table: ImageTable,
    split: Split,
    predictions: Predictions,
) -> None:
    """Write ``model`` to ``folder``, whole or not at all.

    ``size`` is (height, width) of its input, ``predictions`` are those of the validation side.
    """
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        save_file(_timm_state(model, config.model.name), temporary / "model.safetensors")
        write_text(temporary / "config.yaml", _describe(model, config, size))
        write_json(temporary / "labels.json", list(table.classes))
        write_json(temporary / "metrics.json", _metrics(predictions, len(table.classes)))
        write_csv(
            temporary / "predictions.csv",
            PREDICTION_COLUMNS,
            _prediction_rows(table, split.validation, predictions, "validation"),
        )


def _timm_state(model: TransferModel, name: str) -> dict[str, Tensor]:
    """Return the weights under timm's names, the classification block as timm's classifier."""
    classifier = next(iter(classifier_names(name)), "head")
    state = dict(model.backbone.state_dict())
    state |= {f"{classifier}.{key}": value for key, value in model.head.state_dict().items()}
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def _describe(model: TransferModel, config: DictConfig, size: tuple[int, int]) -> str:
    scale = 255.0
    described = {
        "input": {
            "height": size[0],
            "width": size[1],
            "mean": [round(v / scale, 6) for v in model.normalise.mean.flatten().tolist()],
            "std": [round(v / scale, 6) for v in model.normalise.std.flatten().tolist()],
        },
        "trial": OmegaConf.to_container(config, resolve=True),
    }
    return OmegaConf.to_yaml(OmegaConf.create(described))


def _metrics(predictions: Predictions, n_classes: int) -> dict[str, object]:
    predicted, target = predictions.predicted, predictions.target
    return {
        "validation": headline(summarise(predicted, target, n_classes)),
        "per_class": [asdict(row) for row in per_class(predicted, target, n_classes)],
        "confusion": confusion_matrix(predicted, target, n_classes).tolist(),
    }


def _prediction_rows(
    table: ImageTable, indices: np.ndarray, predictions: Predictions, side: str
) -> list[dict[str, object]]:
    return [
        {
            "path": table.relative(int(index)),
            "label": table.classes[int(table.labels[index])],
            "predicted": table.classes[predicted],
            "confidence": f"{confidence:.6f}",
            "side": side,
        }
        for index, predicted, confidence in zip(
            indices, predictions.predicted.tolist(), predictions.confidence.tolist(), strict=True
        )
    ]


def load_model(folder: Path) -> tuple[TransferModel, list[str]]:
    """Return the model in ``folder`` in evaluation mode, and its class names in index order.

    Raises:
        UserError: the folder holds no model.

    """
    if not (folder / "model.safetensors").is_file():
        raise UserError(
            f"the folder of a model must hold model.safetensors, got {str(folder)!r}; "
            "give the best_model folder of a finished experiment."
        )
    described = OmegaConf.load(folder / "config.yaml")
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    name, taken = described.trial.model.name, described.input
    size = (taken.height, taken.width)
    backbone = create(name, size)
    classifier = next(iter(classifier_names(name)), "head")
    state = load_file(folder / "model.safetensors")
    weight = state.pop(f"{classifier}.weight")
    head = classification_block(weight.shape[1], len(labels))
    head.load_state_dict({"weight": weight, "bias": state.pop(f"{classifier}.bias")})
    backbone.load_state_dict(state)
    normalise = Normalise(list(taken.mean), list(taken.std))
    model = TransferModel(backbone, layers_of(name, size), head, normalise)
    model.to(memory_format=torch.channels_last)
    return model.eval(), labels
