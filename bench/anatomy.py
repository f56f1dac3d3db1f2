"""One trial taken apart: the time of its parts, and the arithmetic that it cannot do without.

The package is watched from outside: its functions are wrapped for the time of the measurement.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loops.optimization.automatic import Closure
from omegaconf import DictConfig
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook as after_step
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step

from bench.flops import count, product_rate, synchroniser
from bench.ledger import Ledger, replaced
from bench.trials import in_store, run
from tl_hpo.data.module import ImageData
from tl_hpo.data.store import DecodedStore
from tl_hpo.models.classifier import PhaseTask
from tl_hpo.models.freezing import Phase
from tl_hpo.models.reuse.frozen import FrozenWork
from tl_hpo.models.transfer import TransferModel
from tl_hpo.training import trial as trial_module
from tl_hpo.training.devices import BF16, device_of, resolve_precision
from tl_hpo.training.phases import PhaseOutcome
from tl_hpo.training.runner import LocalRunner
from tl_hpo.training.trial import input_size

REST = "set-up"  # configuration, weights, plan of reuse, saving
FIT = "Lightning"  # the rest of a fit: its loops and hooks, gathering batches, judging epochs
WATCHED = (
    (DecodedStore, "images", "decoding"),
    (trial_module, "calibrate", "calibration"),  # of random weights alone
    (FrozenWork, "sources", "frozen pass"),
    (trial_module, "run_phase", FIT),
    (Closure, "closure", FIT),  # which the optimizer calls
    (PhaseTask, "training_step", "suffix forward"),
    (PhaseTask, "validation_step", "suffix forward"),
    (Tensor, "backward", "suffix backward"),
)
OPTIMIZER = "optimizer"
PARTS = (
    *dict.fromkeys(label for _, _, label in WATCHED if label != FIT), OPTIMIZER, FIT, REST,
)  # fmt: skip
COUNTED_IMAGES = 4  # operations per image do not depend on the batch


Trial = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """A phase as it was run: what its operations can be counted of."""

    phase: Phase
    model: TransferModel
    features: Callable[..., Tensor]
    data: ImageData
    config: DictConfig
    delimiting_layer: int


def watched_trials(overrides: Sequence[str], rates: Sequence[float]) -> list[Trial]:
    """Run a trial per learning rate with one worker and an empty store.

    Returns:
        Of each trial ``seconds``; ``parts``, the seconds by part, of `PARTS`; ``arithmetic``, the
        seconds that its operations would take at the rate of a product of matrices.

    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = in_store(overrides, folder)
        device = device_of(config.trainer.accelerator)
        ledger = Ledger(REST, synchroniser(device))
        runner = LocalRunner([], config)
        trials = []
        for rate in rates:
            trials.append(_watched_trial(runner, overrides, rate, folder, ledger))
            ledger.clear()
        bf16 = uses_bf16(config)
    speed = product_rate(device, torch.bfloat16 if bf16 else torch.float32)
    return [{**trial, "arithmetic": trial["operations"] / speed} for trial in trials]


def uses_bf16(config: DictConfig) -> bool:
    """Tell whether a trial computes in bf16."""
    return bool(resolve_precision(config.precision, config.trainer.accelerator) == BF16)


def _watched_trial(
    runner: LocalRunner, overrides: Sequence[str], rate: float, folder: Path, ledger: Ledger
) -> Trial:
    passed = _images_passed(runner)
    with watched(ledger) as fits:
        run(runner, overrides, rate, folder)
        spent = ledger.spent()
    return {
        "seconds": sum(spent.values()),
        "parts": {part: spent.get(part, 0.0) for part in PARTS},
        "operations": operations(fits, _images_passed(runner) - passed),
    }


def _images_passed(runner: LocalRunner) -> int:
    """Return how many images went through frozen layers; without reuse none does ahead."""
    return runner.worker.frozen.images_passed if runner.worker.frozen else 0


@contextmanager
def watched(ledger: Ledger) -> Iterator[list[Fit]]:
    """Charge the parts of trials to ``ledger``; yield the list that gathers their phases."""
    fits: list[Fit] = []
    with ExitStack() as stack:
        stack.enter_context(_noting(fits))
        for owner, name, label in WATCHED:
            stack.enter_context(ledger.watching(owner, name, label))
        stack.callback(before_step(lambda *_: ledger.enter(OPTIMIZER)).remove)
        stack.callback(after_step(lambda *_: ledger.leave()).remove)
        yield fits


@contextmanager
def _noting(fits: list[Fit]) -> Iterator[None]:
    """Note what every phase is run with."""
    original = trial_module.run_phase

    def noted(
        phase: Phase,
        model: TransferModel,
        features: Callable[..., Tensor],
        data: ImageData,
        config: DictConfig,
        **rest: Any,
    ) -> PhaseOutcome:
        fits.append(Fit(phase, model, features, data, config, rest["delimiting_layer"]))
        return original(phase, model, features, data, config, **rest)

    with replaced(trial_module, "run_phase", noted):
        yield


def operations(fits: Sequence[Fit], passed: int) -> float:
    """Return the operations of a trial.

    They are those of every phase's epochs behind its cut, and of the whole backbone, once, for
    the images that ``passed`` it to be kept. What lies between a cut and the delimiting layer is
    computed in every epoch and counts so.
    """
    total = sum(_of_fit(fit) for fit in fits)
    if passed:
        model, config = fits[0].model, fits[0].config
        side, channels = input_size(config), 3
        images = torch.zeros(COUNTED_IMAGES, channels, *side, dtype=torch.uint8)
        total += passed * _per_image(model, config, model.features, (images,), train=False)
    return total


def _of_fit(fit: Fit) -> float:
    fit.model.freeze(fit.phase, fit.delimiting_layer)
    rows = tuple(tensor[:COUNTED_IMAGES] for tensor in fit.data.inputs)
    trained, judged = (
        _per_image(fit.model, fit.config, fit.features, rows, train=train)
        for train in (True, False)
    )
    sides = fit.data.split
    epoch = trained * len(sides.train) + judged * len(sides.validation)
    return fit.config[fit.phase.value].epochs * epoch


def _per_image(
    model: TransferModel,
    config: DictConfig,
    features: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    *,
    train: bool,
) -> float:
    """Return the operations of one image, those of the backward pass included if it trains."""
    device = device_of(config.trainer.accelerator)
    model.to(device).train(train)
    batch = [tensor.to(device, copy=True) for tensor in inputs]

    def work() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(config)):
            total = model.head(features(*batch)).sum()
        if train:
            total.backward()

    with torch.set_grad_enabled(train):
        return count(work) / len(batch[0])
