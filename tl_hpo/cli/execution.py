"""From the config group ``executor`` to what runs the trials of an experiment."""

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from tl_hpo.errors import unknown
from tl_hpo.search.executors.base import Executor, Inline
from tl_hpo.search.executors.local import ProcessExecutor
from tl_hpo.search.executors.slots import CPU, Slot, make_slots, usable_cores
from tl_hpo.search.executors.slurm import FOLDER, SlurmExecutor
from tl_hpo.search.executors.slurm_settings import SlurmSettings
from tl_hpo.search.executors.wire import Setup
from tl_hpo.training.devices import count_gpus
from tl_hpo.training.runner import LocalRunner
from tl_hpo.training.worker import memory_of, memory_share

KINDS = ("local", "inline", "slurm")


def make_executor(config: DictConfig, runner: LocalRunner, folder: Path) -> Executor:
    """Return what runs the trials that ``runner`` describes, in a run folder.

    Raises:
        UserError: the settings make no sense here.

    """
    settings = config.executor
    if not OmegaConf.is_dict(settings) or settings.get("kind") not in KINDS:
        kind = settings.get("kind") if OmegaConf.is_dict(settings) else settings
        raise unknown("executor", str(kind), KINDS)
    if settings.kind == "inline":
        return Inline(runner)
    plain = cast(Mapping[str, Any], OmegaConf.to_container(settings))
    if settings.kind == "slurm":
        return _slurm(plain, config, runner, folder)
    return _local(plain, config, runner)


def _local(settings: Mapping[str, Any], config: DictConfig, runner: LocalRunner) -> ProcessExecutor:
    _check_options(settings, {"devices", "workers", "per_device"})
    on_cpu = config.trainer.accelerator == CPU
    slots = make_slots(
        devices=CPU if on_cpu else settings["devices"],
        workers=settings["workers"],
        per_device=settings["per_device"],
        n_gpus=count_gpus(),
        cores=usable_cores(),
    )

    def setup(slot: Slot) -> Setup:
        """Return what a worker needs: the runner's settings, and its part of the machine."""
        made = _setup(runner, on_cpu=slot.device is None, alone=len(slots) == 1)
        machine = made.arguments["config"]
        machine["reuse"] = memory_share(machine["reuse"], 1 / len(slots), slot.share)
        return made

    return ProcessExecutor(setup, slots)


def _slurm(
    settings: Mapping[str, Any], config: DictConfig, runner: LocalRunner, folder: Path
) -> SlurmExecutor:
    _check_options(settings, {each.name for each in fields(SlurmSettings)})
    wanted = SlurmSettings(**{key: value for key, value in settings.items() if key != "kind"})
    if config.trainer.accelerator == CPU:
        wanted = replace(wanted, gpus_per_node=0)
    wanted.check()
    setup = _setup(runner, on_cpu=wanted.gpus_per_node == 0, alone=False)
    machine = setup.arguments["config"]
    machine["store"]["dir"] = wanted.store_dir or machine["store"]["dir"]
    machine["reuse"] = memory_of(machine["reuse"], wanted.mem_gb)
    return SlurmExecutor(
        setup, wanted.submitter(), wanted.workers, folder / FOLDER, wanted.timing()
    )


def _check_options(settings: Mapping[str, Any], known: set[str]) -> None:
    for key in settings.keys() - known - {"kind"}:
        raise unknown("executor", key, sorted(known))


def _setup(runner: LocalRunner, *, on_cpu: bool, alone: bool) -> Setup:
    """Return what makes ``runner`` in another process, its only one if it is ``alone``."""
    arguments = runner.arguments
    trainer = arguments["config"]["trainer"]
    if on_cpu:
        trainer["accelerator"] = CPU
    if not alone:
        trainer["progress"] = False  # bars of several processes write over each other
    return Setup("tl_hpo.training.runner:make_runner", arguments, sys.path)
