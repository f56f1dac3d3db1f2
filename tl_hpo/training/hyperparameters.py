"""What describes a trial: the columns of trials.csv, and what loggers list it by."""

from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

_LISTED = ("batch_size", "accumulate", "image_size", "precision", "imbalance", "seed")
_OF_PHASES = ("epochs", "patience", "scheduler")
_OF_OPTIMIZERS = ("_target_", "lr")  # they stand among the hyperparameters under other names


def hyperparameters(config: DictConfig) -> dict[str, Any]:
    """Return model, optimizers, learning rates and delimiting layer of a trial."""
    described: dict[str, Any] = {"model": config.model.name}
    for phase in ("head", "finetune"):
        optimizer = config[phase].optimizer
        described[f"{phase}_optimizer"] = optimizer._target_.rpartition(".")[2].lower()
        described[f"{phase}_lr"] = optimizer.lr
    return described | {"delimiting_layer": config.delimiting_layer}


def further_settings(config: DictConfig) -> dict[str, Any]:
    """Return the other settings that trials may be compared by, by their keys of overrides."""
    described = {key: config[key] for key in _LISTED}
    for phase in ("head", "finetune"):
        described |= {f"{phase}.{key}": config[phase][key] for key in _OF_PHASES}
        optimizer = cast(
            dict[str, Any], OmegaConf.to_container(config[phase].optimizer, resolve=True)
        )
        described |= {
            f"{phase}.optimizer.{key}": value
            for key, value in optimizer.items()
            if key not in _OF_OPTIMIZERS
        }
    return described
