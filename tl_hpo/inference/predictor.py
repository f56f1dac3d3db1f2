"""A trained model with all that its judgement rests on: views of an image, and a temperature."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tl_hpo.data.views import View, views_of
from tl_hpo.errors import UserError
from tl_hpo.models.classifier import mean_probability
from tl_hpo.models.transfer import TransferModel
from tl_hpo.training.calibration import Calibration, read_calibration
from tl_hpo.training.devices import BF16, device_of, resolve_precision
from tl_hpo.training.result import BEST_MODEL, MODEL_FOLDER
from tl_hpo.training.saved import WEIGHTS_FILE, load_model, read_description

_INSIDE = ("", BEST_MODEL, MODEL_FOLDER)  # where a run folder keeps its model


class Predictor(nn.Module):
    """Maps images to probabilities, as the figures of the model were measured.

    Args:
        model: the trained network.
        views: of an image, whose probabilities are averaged; the first is the image as it is.
        temperature: that divides the log-probabilities.

    """

    def __init__(self, model: TransferModel, views: Sequence[View], temperature: float) -> None:
        super().__init__()
        self.model = model
        self.views = tuple(views)
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images [batch, 3, height, width] to probabilities [batch, classes]."""
        # One view after another: all at once would need so many times the memory.
        each = [self.model(view.of(images)).float().log_softmax(dim=1) for view in self.views]
        return (mean_probability(torch.stack(each)) / self.temperature).softmax(dim=1)


@dataclass(frozen=True)
class LoadedModel:
    """What the folder of a model holds.

    Attributes:
        folder: where it lies.
        predictor: in evaluation mode, on the host.
        labels: names of the classes, in index order.
        size: height and width of its input, pixels.
        trial: the configuration that it was trained with, plain containers.
        calibration: None for a model of an older version; its temperature is 1 then.

    """

    folder: Path
    predictor: Predictor
    labels: list[str]
    size: tuple[int, int]
    trial: Mapping[str, Any]
    calibration: Calibration | None


def load(path: Path) -> LoadedModel:
    """Read a model from its folder, or from the run folder of its experiment or trial.

    Raises:
        UserError: there is none, or it cannot be read.

    """
    folder = next((path / name for name in _INSIDE if (path / name / WEIGHTS_FILE).is_file()), path)
    model, labels = load_model(folder)
    described = read_description(folder)
    taken, trial = described["input"], described["trial"]
    calibration = read_calibration(folder)
    predictor = Predictor(model, _views(folder, trial), _temperature(calibration))
    return LoadedModel(
        folder, predictor.eval(), labels, (taken["height"], taken["width"]), trial, calibration
    )


def _temperature(calibration: Calibration | None) -> float:
    return calibration.temperature if calibration else 1.0


def _views(folder: Path, trial: Mapping[str, Any]) -> tuple[View, ...]:
    """Return the views that the model was judged by."""
    augment = trial.get("augment") or {}
    if not isinstance(augment, Mapping):
        raise UserError(
            f"{folder / 'config.yaml'} must have augment as a table, got {augment!r}; give the "
            "best_model folder of an experiment."
        )
    return views_of(augment.get("views")).views if augment.get("test_time") else (View(),)


@dataclass(frozen=True)
class Machine:
    """What predictions are computed with.

    Attributes:
        device: that holds the model.
        precision: Lightning's name for it.

    """

    device: torch.device
    precision: str

    def arithmetic(self) -> AbstractContextManager[object]:
        """Return the block in which training computed, as Lightning has it."""
        if self.precision != BF16:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def machine(accelerator: str, precision: Any) -> Machine:
    """Return what this machine computes with.

    Args:
        accelerator: auto, cpu or gpu.
        precision: auto, 32 or bf16.

    Raises:
        UserError: the precision is unknown.

    """
    return Machine(device_of(accelerator), resolve_precision(precision, accelerator))
