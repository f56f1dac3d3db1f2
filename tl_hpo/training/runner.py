"""Runs trials given as Hydra overrides, in this process; it stays warm between them."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from tl_hpo.config import compose_trial
from tl_hpo.training.result import Report, TrialResult
from tl_hpo.training.trial import count_layers, run_trial


class LocalRunner:
    """Runs one trial after another on this machine's device.

    Args:
        search_path: further config folders that the overrides may refer to.
        trainer: settings of conf/trainer, which are not part of a trial.
    """

    def __init__(self, search_path: Sequence[str], trainer: DictConfig) -> None:
        self._search_path = search_path
        self._trainer = trainer

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of a trial, for this machine."""
        config = compose_trial(overrides, self._search_path)
        config.trainer = self._trainer
        return config

    def count_layers(self, overrides: Sequence[str]) -> int:
        """Return the number of layers of the model that ``overrides`` choose."""
        return count_layers(self.compose(overrides))

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the columns of trials.csv that describe a trial, before it runs."""
        config = self.compose(overrides)
        described: dict[str, Any] = {"model": _model_name(overrides, config)}
        for phase in ("head", "finetune"):
            optimizer = config[phase].optimizer
            described[f"{phase}_optimizer"] = optimizer._target_.rpartition(".")[2].lower()
            described[f"{phase}_lr"] = optimizer.lr
        return described | {"delimiting_layer": config.delimiting_layer}

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        report: Report,
        keep_model: Callable[[TrialResult], bool],
    ) -> TrialResult:
        """Run one trial that writes to ``folder``; its memory is gone afterwards."""
        try:
            return run_trial(self.compose(overrides), folder, report=report, keep_model=keep_model)
        finally:
            gc.collect()  # modules, trainers and callbacks refer to each other
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _model_name(overrides: Sequence[str], config: DictConfig) -> str:
    """Return the name that the user knows the model by: the config's, or timm's."""
    chosen = {text.removeprefix("model=") for text in overrides if text.startswith("model=")}
    return next(iter(chosen - {"timm"}), config.model.name)
