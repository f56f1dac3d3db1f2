"""From the config group ``executor`` to what runs the trials of an experiment."""

import sys
from collections.abc import Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from tl_hpo.errors import unknown
from tl_hpo.search.executors.base import Executor, Inline
from tl_hpo.search.executors.local import ProcessExecutor
from tl_hpo.search.executors.slots import CPU, Slot, make_slots, usable_cores
from tl_hpo.search.executors.wire import Setup
from tl_hpo.training.devices import count_gpus
from tl_hpo.training.runner import LocalRunner
from tl_hpo.training.worker import memory_share

KINDS = ("local", "inline")


def make_executor(config: DictConfig, runner: LocalRunner) -> Executor:
    """Return what runs the trials that ``runner`` describes.

    Raises:
        UserError: the settings make no sense here.

    """
    settings = config.executor
    if not OmegaConf.is_dict(settings) or settings.get("kind") not in KINDS:
        kind = settings.get("kind") if OmegaConf.is_dict(settings) else settings
        raise unknown("executor", str(kind), KINDS)
    if settings.kind == "inline":
        return Inline(runner)
    return _local(cast(Mapping[str, Any], OmegaConf.to_container(settings)), config, runner)


def _local(settings: Mapping[str, Any], config: DictConfig, runner: LocalRunner) -> ProcessExecutor:
    _check_options(settings, {"devices", "workers", "per_device"})
    on_cpu = config.trainer.accelerator == CPU
    slots = make_slots(
        devices=CPU if on_cpu else settings["devices"],
        workers=settings["workers"],
        per_device=settings["per_device"],
        n_gpus=count_gpus(),
        cores=usable_cores(),
        per_trial=config.trainer.devices,
    )
    return ProcessExecutor(lambda slot: _setup(runner, slot, len(slots)), slots)


def _check_options(settings: Mapping[str, Any], known: set[str]) -> None:
    for key in settings.keys() - known - {"kind"}:
        raise unknown("executor", key, sorted(known))


def _setup(runner: LocalRunner, slot: Slot, n_slots: int) -> Setup:
    """Return what a worker needs: the runner's settings, and its part of the machine."""
    arguments = runner.arguments
    machine = arguments["config"]
    if not slot.devices:
        machine["trainer"]["accelerator"] = CPU
    if n_slots > 1:
        machine["trainer"]["progress"] = False  # bars of several processes write over each other
    machine["reuse"] = memory_share(machine["reuse"], 1 / n_slots, slot.share)
    return Setup("tl_hpo.training.runner:make_runner", arguments, sys.path)
