"""What runs in a child process: imported there once, with all that either side needs.

Arguments and results are plain values. The project's side runs its trials as `optimize.py` does,
through `LocalRunner`: composing the configuration, saving the block and the result included.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # optimizers import it when first used

from bench import memory
from bench.anatomy import watched_trials
from bench.plain import run_plain
from bench.trials import in_store, run
from tl_hpo.config import compose_trial
from tl_hpo.data.sources import load_table
from tl_hpo.data.split import make_split
from tl_hpo.training.devices import device_name, device_of, has_bf16, host_memory
from tl_hpo.training.runner import LocalRunner

__all__ = ["count_images", "machine", "plain", "project", "watched_trials"]


def machine() -> dict[str, Any]:
    """Describe this machine; ``gpu`` is None where torch finds none."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": device_name(torch.device("cpu")),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": host_memory() / 1e9,
        "gpu": gpu,
        "torch": torch.__version__,
        "start_method": multiprocessing.get_start_method(),  # of the plain loop's workers
        "bf16": {"cpu": has_bf16(torch.device("cpu")), "gpu": has_bf16(device_of("gpu"))},
    }


def count_images(overrides: Sequence[str]) -> int:
    """Return the number of images of a trial's dataset; those of a phantom are made if absent."""
    return len(load_table(compose_trial(overrides).dataset))


def plain(trials: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """Run trials, given as overrides of train.py, one after another through the plain loop."""
    results = []
    for overrides in trials:
        config = compose_trial(overrides)
        table = load_table(config.dataset)
        results.append(run_plain(config, table, make_split(table, config.split).split))
    return results


def project(overrides: Sequence[str], rates: Sequence[float]) -> dict[str, Any]:
    """Run a trial per learning rate with one worker and an empty store.

    Returns:
        ``trials``: ``seconds`` and ``accuracy`` of each; ``peak_mb``, ``end_mb``: the most
        resident memory and that at the end, over that after the imports; ``gpu_mb``: the most
        that tensors took on the GPU.

    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory.reset_peak()
        before = memory.resident()
        began = time.perf_counter()
        config = in_store(overrides, folder)
        runner = LocalRunner([], config)
        trials = []
        for rate in rates:
            result = run(runner, overrides, rate, folder)
            ended = time.perf_counter()
            trials.append({"seconds": ended - began, "accuracy": result.val_accuracy})
            began = ended
        return {
            "trials": trials,
            "peak_mb": memory.peak() - before,
            "end_mb": memory.resident() - before,
            "gpu_mb": _gpu_peak(config.trainer.accelerator),
        }


def _gpu_peak(accelerator: str) -> float:
    device = device_of(accelerator)
    return torch.cuda.max_memory_allocated(device) / memory.MB if device.type == "cuda" else 0.0
