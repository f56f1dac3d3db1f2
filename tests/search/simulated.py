"""A simulated objective: no torch, no images, a landscape with a known best point."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tl_hpo.files import write_text
from tl_hpo.overrides import key_of
from tl_hpo.training.result import (
    HEAD_FILE,
    MODEL_FOLDER,
    EpochRecord,
    PhaseSummary,
    Report,
    TrialResult,
)

LAYERS = {"densenet121": 40, "vgg16": 20, "my_timm_model": 30}
MODEL_GAIN = {"densenet121": 0.1, "vgg16": 0.0, "my_timm_model": 0.05}


class SimulatedRunner:
    """Scores a configuration by its distance from a good one; keeps what it was asked."""

    def __init__(self, fails: Callable[[int], Exception | None] = lambda n: None) -> None:
        self.asked: list[list[str]] = []
        self._fails = fails

    def count_layers(self, overrides: Sequence[str]) -> int:
        return LAYERS[self.model(overrides)]

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        values = parsed(overrides)
        common = values.get("optimizer", "adam"), float(values.get("optimizer.lr", 0.001))
        settings: dict[str, Any] = {"model": self.model(overrides)}
        for phase in ("head", "finetune"):
            settings[f"{phase}_optimizer"] = values.get(f"optimizer@{phase}.optimizer", common[0])
            settings[f"{phase}_lr"] = float(values.get(f"{phase}.optimizer.lr", common[1]))
        return settings | {"delimiting_layer": float(values.get("delimiting_layer", 2 / 3))}

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        report: Report,
        keep_model: Callable[[TrialResult], bool],
    ) -> TrialResult:
        self.asked.append(list(overrides))
        error = self._fails(len(self.asked))
        if error is not None:
            raise error
        score = self.score(overrides)
        result = _result(score, self.count_layers(overrides), self._train(score, report))
        write_text(folder / HEAD_FILE, f"{score}")
        if keep_model(result):
            write_text(folder / MODEL_FOLDER / "model.safetensors", f"{score}")
        return result

    def score(self, overrides: Sequence[str]) -> float:
        settings = self.settings(overrides)
        distance = abs(math.log10(settings["finetune_lr"]) + 2) / 4
        layer = settings["delimiting_layer"]
        depth = layer / LAYERS[settings["model"]] if layer > 1 else layer
        return 0.8 + MODEL_GAIN[settings["model"]] - 0.9 * distance - 0.1 * abs(depth - 0.4)

    def _train(self, score: float, report: Report) -> int:
        for epoch in range(1, 7):
            value = score * (1 - 0.5**epoch)
            record = EpochRecord("head", epoch, epoch, 1 - value, 1 - value, value, value, 0.4)
            if report(record):
                return -epoch
        return 6

    @staticmethod
    def model(overrides: Sequence[str]) -> str:
        values = parsed(overrides)
        return values["model.name"] if values["model"] == "timm" else values["model"]


class Layered(SimulatedRunner):
    """One whose results tell the delimiting layer that the configuration asks for."""

    def run(self, overrides: Sequence[str], *others: Any) -> TrialResult:
        result = super().run(overrides, *others)
        text = parsed(overrides).get("delimiting_layer", repr(2 / 3))
        layer = int(text) if text.isdigit() else round(float(text) * result.n_layers)
        return replace(result, delimiting_layer=layer)


def parsed(overrides: Sequence[str]) -> dict[str, str]:
    return {key_of(text): text.partition("=")[2].strip("'") for text in overrides}


def _result(score: float, n_layers: int, epochs: int) -> TrialResult:
    return TrialResult(
        state="PRUNED" if epochs < 0 else "COMPLETE",
        val_accuracy=score,
        validation={"accuracy": score},
        test=None,
        phases={"head": PhaseSummary(abs(epochs), 0.1), "finetune": PhaseSummary(0, 0.0)},
        n_layers=n_layers,
        delimiting_layer=0,
        trainable_parameters=1,
        seconds=0.1,
        objective=score,
        reason="early cancel" if epochs < 0 else "",
        epochs=abs(epochs),
    )
