"""Temperature scaling: probabilities that mean what they say (Guo et al. 2017, arXiv:1706.04599).

One number, the temperature, divides the logits; it is fitted on the validation side, changes no
predicted class, and is measured on the test side too, which it has not seen.

calibration.json     the temperature, and the calibration error of each side before and after
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from tl_hpo.errors import UserError
from tl_hpo.files import write_json

CALIBRATION_FILE = "calibration.json"
BINS = 15  # of equal width, as Guo et al. have them
COLDEST, HOTTEST = 0.1, 10.0  # beyond, all probabilities are 0 and 1, or all alike


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error of one side, in [0, 1], before and after scaling."""

    before: float
    after: float


@dataclass(frozen=True)
class Calibration:
    """The temperature of a model, and what it does to each side; ``test`` where it is known."""

    temperature: float
    validation: CalibrationError
    test: CalibrationError | None = None


def calibrated(scores: Tensor, target: Tensor) -> Calibration:
    """Fit the temperature to the validation side.

    Args:
        scores: log-probabilities [images, classes].
        target: classes [images].

    """
    temperature = fit_temperature(scores, target)
    return Calibration(temperature, errors_of(scores, target, temperature))


def with_test(calibration: Calibration, scores: Tensor, target: Tensor) -> Calibration:
    """Return ``calibration`` with its error on the test side; arguments as `calibrated`."""
    return replace(calibration, test=errors_of(scores, target, calibration.temperature))


def fit_temperature(scores: Tensor, target: Tensor) -> float:
    """Return the temperature with the least negative log-likelihood; arguments as `calibrated`.

    1 where there is no least: every image is right already, so that colder is always better, or a
    score is not finite.
    """
    values, rows = scores.double().numpy(), np.arange(len(target))
    right = bool((scores.argmax(dim=1) == target).all())
    if right or not np.isfinite(values).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        top = scaled.max(axis=1, keepdims=True)
        normaliser = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
        return float((normaliser - scaled[rows, target.numpy()]).mean())

    # Convex in one over the temperature, so it falls and rises once along the logarithm.
    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def errors_of(scores: Tensor, target: Tensor, temperature: float) -> CalibrationError:
    """Return the error of a side with and without ``temperature``; arguments as `calibrated`."""
    return CalibrationError(*(calibration_error(scores, target, t) for t in (1.0, temperature)))


def calibration_error(scores: Tensor, target: Tensor, temperature: float = 1.0) -> float:
    """Return the expected calibration error; arguments as `calibrated`."""
    probabilities = (scores.double() / temperature).softmax(dim=1)
    error = multiclass_calibration_error(
        probabilities, target, num_classes=scores.shape[1], n_bins=BINS, norm="l1"
    )
    return float(error)


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write ``calibration`` into the folder of a model."""
    write_json(folder / CALIBRATION_FILE, asdict(calibration))


def read_calibration(folder: Path) -> Calibration | None:
    """Return what the folder of a model tells, None where it is of an older version.

    Raises:
        UserError: the file cannot be understood.

    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        temperature = float(told["temperature"])
        if not 0 < temperature < float("inf"):
            raise ValueError(f"a temperature of {temperature}")
        test = told.get("test")
        return Calibration(
            temperature,
            CalibrationError(**told["validation"]),
            None if test is None else CalibrationError(**test),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} must be as it was written, got {type(error).__name__}: {error}; remove it to "
            "have probabilities without temperature scaling."
        ) from error
