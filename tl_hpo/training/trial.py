"""One trial: data, model, head phase, fine-tune phase, result."""

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn

from tl_hpo.files import write_json
from tl_hpo.models.backbone import check_image_size, default_size, feature_count, normalisation
from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.models.freezing import Phase
from tl_hpo.models.layers import layers_of
from tl_hpo.models.reuse.frozen import cut_off
from tl_hpo.models.reuse.source import Request, Source, from_images
from tl_hpo.models.transfer import (
    Normalise,
    TransferModel,
    classification_block,
    load_head,
    save_head,
)
from tl_hpo.models.weights import build_backbone, calibrate
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.checks import check_config
from tl_hpo.training.devices import BF16, resolve_precision
from tl_hpo.training.group import ALONE, Group
from tl_hpo.training.hyperparameters import further_settings, hyperparameters
from tl_hpo.training.judgement import TEST, VALIDATION
from tl_hpo.training.loggers import logged
from tl_hpo.training.metrics import headline, summarise
from tl_hpo.training.phases import PhaseOutcome, judge, run_phase
from tl_hpo.training.ranks import Ranks
from tl_hpo.training.result import (
    HEAD_FILE,
    MODEL_FOLDER,
    RESULT_FILE,
    KeepModel,
    PhaseSummary,
    Report,
    TrialResult,
)
from tl_hpo.training.saved import save_model
from tl_hpo.training.worker import Backbone, TrialData, Worker, digest_of, head_key, work_key

CALIBRATION_IMAGES = 256  # BatchNorm's averages move little beyond that


def run_trial(
    config: DictConfig,
    folder: Path | None = None,
    *,
    report: Report = lambda record: False,
    keep_model: KeepModel = lambda result: True,
    worker: Worker | None = None,
    test: bool = False,
) -> TrialResult:
    """Train one set of hyperparameters through both phases.

    Args:
        config: what ``train.yaml`` composes to.
        folder: receives ``result.json``, the trained block and, if ``keep_model`` says so of the
            result, the model; None keeps nothing.
        report: called after every epoch; True ends the trial as PRUNED.
        worker: holds what earlier trials left; by default there were none.
        test: measure on the test side too, if there is one. A trial of a search never does.

    Raises:
        UserError: the configuration cannot work.

    """
    check_config(config)
    started = time.monotonic()
    trial = prepare(config, worker or Worker(config))
    described = hyperparameters(config) | {"delimiting_layer": trial.delimiting_layer}
    described |= further_settings(config)
    with (  # ranks load while the head phase runs
        Ranks(config, trial.worker.device) if _wants_ranks(config) else nullcontext() as ranks,
        logged(config, described, folder, report) as logging_report,
    ):
        outcomes = _run_phases(trial, logging_report, ranks)
    last = list(outcomes.values())[-1].predictions if outcomes else trial.judge(VALIDATION)
    predictions = {VALIDATION: last}
    if test and len(trial.data.split.test):
        predictions[TEST] = trial.judge(TEST)
    result = _result(trial, outcomes, predictions, time.monotonic() - started)
    if folder is not None:
        _save(trial, folder, result, predictions, keep_model)
    return result


def _wants_ranks(config: DictConfig) -> bool:
    return bool(config.trainer.devices > 1 and config.finetune.epochs)


@dataclass(frozen=True)
class PreparedTrial:
    """What the phases of one trial share.

    Attributes:
        work: tells its frozen layers apart; None where reuse is off.

    """

    config: DictConfig
    worker: Worker
    data: TrialData
    model: TransferModel
    delimiting_layer: int
    work: str | None

    def judge(self, side: str) -> Predictions:
        """Return the predictions for one side of the split."""
        self.model.to(self.worker.device)  # Lightning leaves it on the host after a phase
        return judge_images(self.model, self.data, self.config, side)


def follow(trial: PreparedTrial, group: Group) -> None:
    """Train a trial together with its rank 0, which decides everything."""
    _finetune(trial, from_images(trial.data.images), lambda record: False, 0, group)


def judge_images(
    model: TransferModel, data: TrialData, config: DictConfig, side: str
) -> Predictions:
    """Return the predictions of ``model``, on its device, for one side of the split."""
    return judge(model, model.features, data.loaders((data.images,), config), config, side)


def prepare(config: DictConfig, worker: Worker) -> PreparedTrial:
    """Return the data and the untrained model of a trial, on its device."""
    data = worker.data(config, input_size(config))
    backbone = _backbone(config, worker, data)
    model = build_model(config, backbone.module, data)
    model.to(worker.device)
    layer = resolve_delimiting_layer(config.delimiting_layer, len(model.layers))
    precision = resolve_precision(config.precision, config.trainer.accelerator)
    work = work_key(config, backbone, data, precision) if worker.frozen else None
    return PreparedTrial(config, worker, data, model, layer, work)


def input_size(config: DictConfig) -> tuple[int, int]:
    """Return height and width of the network's input: ``image_size``, or what the weights took."""
    return check_image_size(config.image_size) or default_size(config.model.name)


def _backbone(config: DictConfig, worker: Worker, data: TrialData) -> Backbone:
    """Return the configured backbone with the weights that training starts from.

    Random weights follow ``seed`` alone, so that all trials of an experiment share them.
    """
    name, weights, size = config.model.name, config.model.weights, input_size(config)

    def build() -> nn.Module:
        torch.manual_seed(config.seed)
        backbone = build_backbone(name, weights, size)
        backbone.to(memory_format=torch.channels_last)
        if weights == "random":
            _calibrate(backbone, config, data, worker.device)
        return backbone

    key = digest_of(name, weights, size)
    if weights == "random":
        step_size = config.batch_size * config.accumulate
        key += digest_of(config.seed, step_size, data.checksum, data.split.train.tolist())
    return worker.backbone(key, build)


def _calibrate(
    backbone: nn.Module, config: DictConfig, data: TrialData, device: torch.device
) -> None:
    normalise = Normalise(*normalisation(config.model.name)).to(device)
    batches = data.loaders((data.images,), config).calibration_batches(CALIBRATION_IMAGES)
    backbone.to(device)
    calibrate(backbone, (normalise(images.to(device)) for (images,) in batches))


def build_model(config: DictConfig, backbone: nn.Module, data: TrialData) -> TransferModel:
    """Return ``backbone`` with the classification block that training starts from."""
    name = config.model.name
    torch.manual_seed(config.seed)
    head = classification_block(feature_count(name, input_size(config)), len(data.table.classes))
    if config.head.weights is not None:
        load_head(head, Path(config.head.weights))
    layers = layers_of(name, check_image_size(config.image_size))
    model = TransferModel(backbone, layers, head, Normalise(*normalisation(name)))
    return model.to(memory_format=torch.channels_last)


def _run_phases(
    trial: PreparedTrial, report: Report, ranks: Ranks | None
) -> dict[Phase, PhaseOutcome]:
    """Run the phases that have epochs; one that ends badly is the last.

    The head phase is that of this process alone: what little it computes is not worth dividing,
    and so no other process needs to know which blocks are kept.
    """
    config, outcomes = trial.config, dict[Phase, PhaseOutcome]()
    key = _head_key(trial)
    kept, head_report = _kept_head(trial, key, report)
    head_epochs = 0 if kept else config.head.epochs
    sources = _sources(trial, head_epochs)
    if kept:
        outcomes[Phase.HEAD] = kept
    elif head_epochs:
        outcomes[Phase.HEAD] = _run_phase(trial, Phase.HEAD, sources[Phase.HEAD], head_report)
        _keep_head(trial, key, outcomes[Phase.HEAD])
    earlier = outcomes.get(Phase.HEAD)
    if config.finetune.epochs and not (earlier and earlier.reason):
        epochs = earlier.summary.epochs if earlier else 0
        with ranks.joined() if ranks else nullcontext(ALONE) as group:
            source = sources[Phase.FINETUNE]
            outcomes[Phase.FINETUNE] = _finetune(trial, source, report, epochs, group)
    return outcomes


def _finetune(
    trial: PreparedTrial, source: Source, report: Report, earlier_epochs: int, group: Group
) -> PhaseOutcome:
    """Run the fine-tune phase in every process of ``group``, from where rank 0 stands."""
    if group.size > 1:
        earlier_epochs, cut = group.share((earlier_epochs, source.cut))
        source = _shared(trial, source, cut, group)
    return _run_phase(trial, Phase.FINETUNE, source, report, earlier_epochs, group)


def _shared(trial: PreparedTrial, source: Source, cut: int, group: Group) -> Source:
    """Return the source of rank 0; of its weights, DDP takes care."""
    if not cut:
        return source
    if group.rank == 0:
        group.share_tensors(source.inputs, trial.worker.device)
        return source
    inputs = group.share_tensors((), trial.worker.device)
    positions = trial.data.samples(trial.config).positions(len(trial.data.images))
    name = trial.config.model.name
    return Source(inputs, lambda model: cut_off(model, name, cut), cut, positions)


def _run_phase(
    trial: PreparedTrial,
    phase: Phase,
    source: Source,
    report: Report,
    earlier_epochs: int = 0,
    group: Group = ALONE,
) -> PhaseOutcome:
    trial.model.to(trial.worker.device)  # Lightning leaves it on the host after a phase
    return run_phase(
        phase,
        trial.model,
        source.features(trial.model),
        trial.data.loaders(source.inputs, trial.config, source.positions, group),
        trial.config,
        objective=objective_of(trial.config.objective),
        report=report,
        delimiting_layer=trial.delimiting_layer,
        earlier_epochs=earlier_epochs,
        group=group,
    )


def _sources(trial: PreparedTrial, head_epochs: int) -> dict[Phase, Source]:
    """Return what each phase trains on: the images, or what frozen layers made of them."""
    config, frozen = trial.config, trial.worker.frozen
    if frozen is None or trial.work is None:
        return dict.fromkeys(Phase, from_images(trial.data.images))
    head, finetune = frozen.sources(
        Request(
            work=trial.work,
            name=config.model.name,
            model=trial.model,
            images=trial.data.images,
            samples=trial.data.samples(config),
            checksum=trial.data.checksum,
            bf16=resolve_precision(config.precision, config.trainer.accelerator) == BF16,
            delimiting_layer=trial.delimiting_layer,
            head_epochs=head_epochs,
            finetune_epochs=config.finetune.epochs,
        )
    )
    return {Phase.HEAD: head, Phase.FINETUNE: finetune}


def _head_key(trial: PreparedTrial) -> str | None:
    """Return what tells the head phase apart; None where there is none, or nothing is reused."""
    if trial.work is None or trial.config.head.epochs == 0:
        return None
    return head_key(trial.config, trial.work, trial.data, trial.model.head)


def _kept_head(
    trial: PreparedTrial, key: str | None, report: Report
) -> tuple[PhaseOutcome | None, Report]:
    """Load the block if an earlier trial trained the same, and report its epochs again.

    Should ``report`` ask to end it early, which it did not then, the block is trained once more up
    to that epoch, by the report that is returned.
    """
    heads = trial.worker.heads
    start = copy.deepcopy(trial.model.head.state_dict())
    kept = heads.load(key, trial.model.head) if heads and key else None
    if kept is None:
        return None, report
    trial.model.freeze(Phase.HEAD, trial.delimiting_layer)
    last = next((record.number for record in kept.records if report(record)), None)
    if last is None:
        return kept, report
    trial.model.head.load_state_dict(start)
    return None, lambda record: record.number >= last


def _keep_head(trial: PreparedTrial, key: str | None, outcome: PhaseOutcome) -> None:
    if trial.worker.heads and key and not outcome.reason:
        trial.worker.heads.save(key, trial.model.head, outcome)


def objective_of(name: str) -> Callable[[dict[str, float]], float]:
    """Return what takes the objective ``name`` from a summary of the validation side."""
    return partial(_pick, name.removeprefix("val_"))


def _pick(key: str, summary: dict[str, float]) -> float:
    return summary[key]


def _result(
    trial: PreparedTrial,
    outcomes: dict[Phase, PhaseOutcome],
    predictions: Mapping[str, Predictions],
    seconds: float,
) -> TrialResult:
    config, model = trial.config, trial.model
    summaries = {
        side: summarise(each.predicted, each.target, model.head.out_features)
        for side, each in predictions.items()
    }
    summary = summaries[VALIDATION]
    reason = next((o.reason for o in outcomes.values() if o.reason), "")
    none = PhaseSummary(0, 0.0)
    phases = {p.value: outcomes[p].summary if p in outcomes else none for p in Phase}
    return TrialResult(
        state="PRUNED" if reason == "early cancel" else "COMPLETE",
        val_accuracy=summary["accuracy"],
        validation=headline(summary),
        test=headline(summaries[TEST]) if TEST in summaries else None,
        phases=phases,
        n_layers=len(model.layers),
        delimiting_layer=trial.delimiting_layer,
        trainable_parameters=sum(p.numel() for p in model.trainable().values()),
        seconds=seconds,
        objective=objective_of(config.objective)(summary),
        reason=reason,
        epochs=sum(phase.epochs for phase in phases.values()),
    )


def _save(
    trial: PreparedTrial,
    folder: Path,
    result: TrialResult,
    predictions: Mapping[str, Predictions],
    keep_model: KeepModel,
) -> None:
    """Write the files of a finished trial; ``result.json`` last, the sign that all are there."""
    data, model = trial.data, trial.model
    save_head(model.head, folder / HEAD_FILE)
    if keep_model(result):
        size = input_size(trial.config)
        path = folder / MODEL_FOLDER
        save_model(path, model, trial.config, size, data.table, data.split, predictions)
    write_json(folder / RESULT_FILE, result.as_dict())
