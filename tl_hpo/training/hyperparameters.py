"""What describes a trial: the columns of trials.csv, and what loggers list it by."""

from typing import Any

from omegaconf import DictConfig


def hyperparameters(config: DictConfig) -> dict[str, Any]:
    """Return model, optimizers, learning rates and delimiting layer of a trial."""
    described: dict[str, Any] = {"model": config.model.name}
    for phase in ("head", "finetune"):
        optimizer = config[phase].optimizer
        described[f"{phase}_optimizer"] = optimizer._target_.rpartition(".")[2].lower()
        described[f"{phase}_lr"] = optimizer.lr
    return described | {"delimiting_layer": config.delimiting_layer}
