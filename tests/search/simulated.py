"""A simulated objective: no torch, no images, a landscape with a known best point."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tl_hpo.files import write_text
from tl_hpo.overrides import key_of, merged
from tl_hpo.training.result import (
    HEAD_FILE,
    MODEL_FOLDER,
    EpochRecord,
    PhaseSummary,
    Report,
    TrialResult,
)

LAYERS = {"densenet121": 40, "vgg16": 20, "my_timm_model": 30}
HEAD_EPOCHS, FINETUNE_EPOCHS = 3, 3
MODEL_GAIN = {"densenet121": 0.1, "vgg16": 0.0, "my_timm_model": 0.05}


class SimulatedRunner:
    """Scores a configuration by its distance from a good one; keeps what it was asked.

    Args:
        fails: what the n-th trial raises, from 1.
        head_epochs: that a trial's head phase lasts, of `HEAD_EPOCHS` planned.
    """

    def __init__(
        self,
        fails: Callable[[int], BaseException | None] = lambda n: None,
        head_epochs: Callable[[int], int] = lambda n: HEAD_EPOCHS,
    ) -> None:
        self.asked: list[list[str]] = []
        self._fails = fails
        self._head_epochs = head_epochs

    def count_layers(self, overrides: Sequence[str]) -> int:
        return LAYERS[self.model(overrides)]

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        values = parsed(overrides)
        common = values.get("optimizer", "adam"), float(values.get("optimizer.lr", 0.001))
        settings: dict[str, Any] = {"model": self.model(overrides)}
        for phase in ("head", "finetune"):
            settings[f"{phase}_optimizer"] = values.get(f"optimizer@{phase}.optimizer", common[0])
            settings[f"{phase}_lr"] = float(values.get(f"{phase}.optimizer.lr", common[1]))
        return settings | {"delimiting_layer": _number(values.get("delimiting_layer", repr(2 / 3)))}

    def halved(self, overrides: Sequence[str]) -> tuple[list[str], str] | None:
        values = parsed(overrides)
        half, odd = divmod(int(values.get("batch_size", 32)), 2)
        times = 2 * int(values.get("accumulate", 1))
        if odd:
            return None
        fewer = merged(overrides, [f"batch_size={half}", f"accumulate={times}"])
        return fewer, f"{half} {'twice' if times == 2 else f'{times} times'}"

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
        head = self._head_epochs(len(self.asked))
        epochs = [("head", epoch, epoch) for epoch in range(1, head + 1)]
        epochs += [("finetune", each, HEAD_EPOCHS + each) for each in range(1, FINETUNE_EPOCHS + 1)]
        for number, (phase, epoch, step) in enumerate(epochs, 1):
            value = score * (1 - 0.5**step)
            record = EpochRecord(
                phase, epoch, number, step, 1 - value, 1 - value, value, value, 0.4
            )
            if report(record):
                return -number
        return len(epochs)

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


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


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
