"""The best trial of an experiment: its model, and best.json that tells how to repeat it."""

import json
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from tl_hpo.files import write_json
from tl_hpo.search.study import OVERRIDES, result_of
from tl_hpo.training.result import BEST_MODEL, METRICS_FILE, MODEL_FOLDER

BEST_FILE = "best.json"


def promote(
    folder: Path, trial_folder: Path, trial: FrozenTrial, about: Mapping[str, Any], seconds: float
) -> None:
    """Make the best trial's model the best model, then say so in best.json.

    The model is moved, so wherever the last run was cut off, either the trial's folder still
    holds it or ``best_model`` is it.

    Args:
        folder: of the experiment.
        trial_folder: of the best trial.
        trial: the best.
        about: ``strategy`` and ``step``.
        seconds: that the whole experiment has run for.

    """
    model = trial_folder / MODEL_FOLDER
    if model.is_dir():
        shutil.rmtree(folder / BEST_MODEL, ignore_errors=True)
        model.rename(folder / BEST_MODEL)
    result = result_of(trial)
    write_json(
        folder / BEST_FILE,
        {
            **about,
            "number": trial.number,
            "overrides": trial.user_attrs[OVERRIDES],
            **{key: result[key] for key in ("val_accuracy", "validation")},
            "test": _tested(folder / BEST_MODEL),
            "search_seconds": round(seconds, 3),
        },
    )


def drop_models(trials: Path, names: Container[str]) -> None:
    """Remove the models that the trials of these names still hold."""
    for model in trials.glob(f"*/{MODEL_FOLDER}"):
        if model.parent.name in names:
            shutil.rmtree(model, ignore_errors=True)


def _tested(model: Path) -> dict[str, float] | None:
    """Return what the model in a folder came to on the test side, if it has been measured."""
    path = model / METRICS_FILE
    return json.loads(path.read_text(encoding="utf-8")).get("test") if path.exists() else None
