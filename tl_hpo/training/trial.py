"""One trial: data, model, head phase, fine-tune phase, result."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lightning as L
import torch
from omegaconf import DictConfig

from tl_hpo.data.images import cached_images
from tl_hpo.data.module import ImageData
from tl_hpo.data.sources import load_table
from tl_hpo.data.split import Split, make_split
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError, unknown
from tl_hpo.files import write_json
from tl_hpo.models.backbone import check_image_size, default_size, feature_count, normalisation
from tl_hpo.models.freezing import Phase
from tl_hpo.models.layers import layers_of, resolve_delimiting_layer
from tl_hpo.models.transfer import (
    Normalise,
    TransferModel,
    classification_block,
    load_head,
    save_head,
)
from tl_hpo.models.weights import build_backbone, calibrate
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.metrics import headline, summarise
from tl_hpo.training.phases import (
    PhaseOutcome,
    check_accelerator,
    check_phase,
    judge,
    make_optimizer,
    resolve_precision,
    run_phase,
)
from tl_hpo.training.result import (
    HEAD_FILE,
    MODEL_FOLDER,
    RESULT_FILE,
    PhaseSummary,
    Report,
    TrialResult,
)
from tl_hpo.training.saved import save_model

OBJECTIVES = ("val_accuracy", "val_f1", "val_mcc", "val_balanced_accuracy")
CALIBRATION_IMAGES = 256  # BatchNorm's averages move little beyond that


@dataclass(frozen=True)
class TrialData:
    """The images of a trial: their table, their sides, and the loaders."""

    table: ImageTable
    split: Split
    loaders: ImageData


def run_trial(
    config: DictConfig,
    folder: Path | None = None,
    *,
    report: Report = lambda record: False,
    keep_model: Callable[[TrialResult], bool] = lambda result: True,
) -> TrialResult:
    """Train one set of hyperparameters through both phases.

    Args:
        config: what ``train.yaml`` composes to.
        folder: receives ``result.json``, the trained block and, if ``keep_model`` says so of the
            result, the model; None keeps nothing.
        report: called after every epoch; True ends the trial as PRUNED.

    Raises:
        UserError: the configuration cannot work.

    """
    check_config(config)
    started = time.monotonic()
    L.seed_everything(config.seed, verbose=False)
    size = input_size(config)
    data = load_data(config, size)
    model = build_model(config, size, data)
    layer = resolve_delimiting_layer(config.delimiting_layer, len(model.layers))
    outcomes = _run_phases(config, model, data, layer, report)
    predictions = (
        list(outcomes.values())[-1].predictions
        if outcomes
        else judge(model, data.loaders, config, "validation")
    )
    result = _result(config, model, outcomes, predictions, layer, time.monotonic() - started)
    if folder is not None:
        _save(config, folder, model, data, size, result, predictions, keep_model)
    return result


def check_config(config: DictConfig) -> None:
    """Raise UserError for settings that cannot work, before any image is read."""
    _check_numbers(config)
    check_accelerator(config.trainer.accelerator)
    for phase in Phase:
        check_phase(phase.value, config[phase.value])
        make_optimizer(phase.value, config[phase.value].optimizer)
    if config.objective not in OBJECTIVES:
        raise unknown("objective", config.objective, OBJECTIVES)
    resolve_precision(config.precision, config.trainer.accelerator)
    check_image_size(config.image_size)
    if config.head.epochs == config.finetune.epochs == 0 and config.head.weights is None:
        raise UserError(
            "head.epochs and finetune.epochs must not both be 0, for nothing would be trained; "
            "raise one of them, or give head.weights."
        )
    expected = config.model.n_layers
    n_layers = count_layers(config)
    if expected is not None and expected != n_layers:
        raise UserError(
            f"model.n_layers must be what the trace of {config.model.name} finds, {n_layers}, "
            f"got {expected}; use model=timm model.name={config.model.name}."
        )
    resolve_delimiting_layer(config.delimiting_layer, n_layers)


def _check_numbers(config: DictConfig) -> None:
    for key, least, value in (
        ("batch_size", 2, config.batch_size),  # BatchNorm cannot train on single images
        ("seed", 0, config.seed),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{key} must be an integer of at least {least}, got {value!r}.")
    share = config.dataset.max_unreadable
    if isinstance(share, bool) or not isinstance(share, (int, float)):
        raise UserError(f"dataset.max_unreadable must be a share from 0 to 1, got {share!r}.")
    if not isinstance(config.model.weights, str):
        raise UserError(
            f"model.weights must be imagenet, random or a file, got {config.model.weights!r}."
        )


def input_size(config: DictConfig) -> tuple[int, int]:
    """Return height and width of the network's input: ``image_size``, or what the weights took."""
    return check_image_size(config.image_size) or default_size(config.model.name)


def count_layers(config: DictConfig) -> int:
    """Return the number of layers of the configured model."""
    return len(layers_of(config.model.name, check_image_size(config.image_size)))


def load_data(config: DictConfig, size: tuple[int, int]) -> TrialData:
    """Return the configured dataset, decoded at ``size`` (height, width), and its split."""
    table, images = cached_images(
        load_table(config.dataset),
        size,
        progress=config.trainer.progress,
        max_unreadable=config.dataset.max_unreadable,
    )
    split = make_split(table, config.split)
    loaders = ImageData(images, table.labels, split, config.batch_size, config.seed)
    return TrialData(table, split, loaders)


def build_model(config: DictConfig, size: tuple[int, int], data: TrialData) -> TransferModel:
    """Return the configured backbone with a new classification block, on its device.

    Random weights follow ``seed`` alone, so that all trials of an experiment share them.
    """
    name = config.model.name
    torch.manual_seed(config.seed)
    backbone = build_backbone(name, config.model.weights, size)
    head = classification_block(feature_count(name, size), len(data.table.classes))
    if config.head.weights is not None:
        load_head(head, Path(config.head.weights))
    layers = layers_of(name, check_image_size(config.image_size))
    model = TransferModel(backbone, layers, head, Normalise(*normalisation(name)))
    model.to(memory_format=torch.channels_last)
    if config.model.weights == "random":
        _calibrate(model, data, config)
    return model


def _calibrate(model: TransferModel, data: TrialData, config: DictConfig) -> None:
    gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    model.to(device)
    batches = data.loaders.calibration_batches(CALIBRATION_IMAGES)
    calibrate(model.backbone, (model.normalise(batch.to(device)) for batch in batches))


def _run_phases(
    config: DictConfig, model: TransferModel, data: TrialData, layer: int, report: Report
) -> dict[Phase, PhaseOutcome]:
    """Run the phases that have epochs; a phase that ends badly is the last."""
    outcomes: dict[Phase, PhaseOutcome] = {}
    for phase in Phase:
        if config[phase.value].epochs == 0:
            continue
        outcomes[phase] = run_phase(
            phase,
            model,
            data.loaders,
            config,
            objective=objective_of(config.objective),
            report=report,
            delimiting_layer=layer,
            earlier_epochs=sum(outcome.summary.epochs for outcome in outcomes.values()),
        )
        if outcomes[phase].reason:
            break
    return outcomes


def objective_of(name: str) -> Callable[[dict[str, float]], float]:
    """Return what takes the objective ``name`` from a summary of the validation side."""
    return partial(_pick, name.removeprefix("val_"))


def _pick(key: str, summary: dict[str, float]) -> float:
    return summary[key]


def _result(
    config: DictConfig,
    model: TransferModel,
    outcomes: dict[Phase, PhaseOutcome],
    predictions: Predictions,
    layer: int,
    seconds: float,
) -> TrialResult:
    summary = summarise(predictions.predicted, predictions.target, model.head.out_features)
    reason = next((o.reason for o in outcomes.values() if o.reason), "")
    none = PhaseSummary(0, 0.0)
    phases = {p.value: outcomes[p].summary if p in outcomes else none for p in Phase}
    return TrialResult(
        state="PRUNED" if reason == "early cancel" else "COMPLETE",
        val_accuracy=summary["accuracy"],
        validation=headline(summary),
        test=None,
        phases=phases,
        n_layers=len(model.layers),
        delimiting_layer=layer,
        trainable_parameters=sum(p.numel() for p in model.trainable().values()),
        seconds=seconds,
        objective=objective_of(config.objective)(summary),
        reason=reason,
        epochs=sum(phase.epochs for phase in phases.values()),
    )


def _save(
    config: DictConfig,
    folder: Path,
    model: TransferModel,
    data: TrialData,
    size: tuple[int, int],
    result: TrialResult,
    predictions: Predictions,
    keep_model: Callable[[TrialResult], bool],
) -> None:
    """Write the files of a finished trial; ``result.json`` last, the sign that all are there."""
    save_head(model.head, folder / HEAD_FILE)
    if keep_model(result):
        save_model(folder / MODEL_FOLDER, model, config, size, data.table, data.split, predictions)
    write_json(folder / RESULT_FILE, result.as_dict())
