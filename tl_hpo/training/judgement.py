"""What a trained model says of the images it was not trained on, and what that comes to.

predictions.csv     a row per image of the validation and the test side
calibration.json    the temperature that its probabilities are divided by, see `calibration`
metrics.json        figures of both sides, and how far they would vary
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable
from tl_hpo.files import read_csv, write_csv, write_json
from tl_hpo.training.calibration import (
    Calibration,
    calibrated,
    read_calibration,
    with_test,
    write_calibration,
)
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.intervals import differences, groups_per_class, intervals, resampled
from tl_hpo.training.metrics import HEADLINE, confusion_matrix, headline, per_class, summarise
from tl_hpo.training.result import METRICS_FILE, PREDICTIONS_FILE

VALIDATION, TEST = "validation", "test"
COLUMNS = ("path", "label", "predicted", "confidence", "side")


def write_judgement(
    folder: Path, table: ImageTable, split: Split, predictions: Mapping[str, Predictions]
) -> None:
    """Write the predictions for each side, and their metrics last: the sign that all is there.

    Args:
        folder: of the model.
        table: all images.
        split: of them.
        predictions: by side, in the order of the side's indices; the validation side is among
            them, the test side may be.

    """
    rows = [row for side in predictions for row in _rows(table, split, side, predictions[side])]
    write_csv(folder / PREDICTIONS_FILE, COLUMNS, rows)
    calibration = _calibration(folder, predictions)
    if calibration is not None:
        write_calibration(folder, calibration)
    write_json(folder / METRICS_FILE, _metrics(table, split, predictions))


def _calibration(folder: Path, predictions: Mapping[str, Predictions]) -> Calibration | None:
    """Fit the temperature to the validation side, or take that of an earlier judgement.

    None where an older version left predictions without the probabilities of all classes.
    """
    of_side = {side: each for side, each in predictions.items() if each.scores is not None}
    validation, test = of_side.get(VALIDATION), of_side.get(TEST)
    if validation is None:
        fitted = read_calibration(folder)
    else:
        fitted = calibrated(_scores(validation), validation.target)
    if fitted is None or test is None:
        return fitted
    return with_test(fitted, _scores(test), test.target)


def _scores(predictions: Predictions) -> torch.Tensor:
    assert predictions.scores is not None
    return predictions.scores


def _rows(
    table: ImageTable, split: Split, side: str, predictions: Predictions
) -> list[dict[str, object]]:
    return [
        {
            "path": table.relative(index),
            "label": table.classes[table.labels[index]],
            "predicted": table.classes[predicted],
            "confidence": f"{confidence:.6f}",
            "side": side,
        }
        for index, predicted, confidence in zip(
            split.sides()[side].tolist(),
            predictions.predicted.tolist(),
            predictions.confidence.tolist(),
            strict=True,
        )
    ]


def read_predictions(folder: Path, table: ImageTable, split: Split, side: str) -> Predictions:
    """Return what ``folder`` keeps of one side, in the order of the side's indices."""
    kept = {row["path"]: row for row in read_csv(folder / PREDICTIONS_FILE) if row["side"] == side}
    rows = [kept[table.relative(index)] for index in split.sides()[side].tolist()]
    number = {name: index for index, name in enumerate(table.classes)}
    return Predictions(
        torch.tensor([number[row["predicted"]] for row in rows]),
        torch.tensor([number[row["label"]] for row in rows]),
        torch.tensor([float(row["confidence"]) for row in rows]),
    )


def is_tested(folder: Path) -> bool:
    """Tell whether the model in ``folder`` has been measured on the test side."""
    return bool(json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")).get(TEST))


def _metrics(
    table: ImageTable, split: Split, predictions: Mapping[str, Predictions]
) -> dict[str, Any]:
    n_classes = len(table.classes)
    groups = {side: groups_of(table, split, side) for side in predictions}
    metrics = {
        VALIDATION: _headline(predictions[VALIDATION], n_classes),
        **_per_class(predictions[VALIDATION], n_classes),
        TEST: None,
        "intervals": _intervals(predictions, groups, n_classes),
        "groups": {side: len(set(names)) for side, names in groups.items()},
        "of_one_group": {
            side: _of_one_group(table, predictions[side], names) for side, names in groups.items()
        },
    }
    if TEST in predictions:
        metrics[TEST] = _headline(predictions[TEST], n_classes)
        metrics["test_side"] = _per_class(predictions[TEST], n_classes)
    return metrics


def _of_one_group(table: ImageTable, predictions: Predictions, groups: list[str]) -> list[str]:
    """Return the classes of which one group is there: how they vary cannot be told."""
    counts = groups_per_class(predictions.target, len(table.classes), groups)
    return [name for name, count in zip(table.classes, counts, strict=True) if count == 1]


def groups_of(table: ImageTable, split: Split, side: str) -> list[str]:
    """Return the group of each image of a side; where none is known, each has its own."""
    indices = split.sides()[side].tolist()
    return [table.groups[i] if table.groups else str(i) for i in indices]


def _headline(predictions: Predictions, n_classes: int) -> dict[str, float]:
    return headline(summarise(predictions.predicted, predictions.target, n_classes))


def _per_class(predictions: Predictions, n_classes: int) -> dict[str, Any]:
    predicted, target = predictions.predicted, predictions.target
    return {
        "per_class": [asdict(row) for row in per_class(predicted, target, n_classes)],
        "confusion": confusion_matrix(predicted, target, n_classes).tolist(),
    }


def _intervals(
    predictions: Mapping[str, Predictions], groups: Mapping[str, list[str]], n_classes: int
) -> dict[str, Any]:
    """Return the intervals of each side's metrics, and of test minus validation."""
    drawn = {
        # Sides are drawn apart: they share no image.
        side: resampled(each.predicted, each.target, n_classes, groups[side], seed)
        for seed, (side, each) in enumerate(predictions.items())
    }
    found: dict[str, Any] = {side: intervals(drawn[side], HEADLINE) for side in drawn}
    if TEST in drawn:
        found["difference"] = differences(drawn[TEST], drawn[VALIDATION], HEADLINE)
    return found
