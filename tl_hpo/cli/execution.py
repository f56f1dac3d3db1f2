"""From the config group ``executor`` to what runs the trials of an experiment."""

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from tl_hpo.cli.watching import draws_live
from tl_hpo.errors import unknown
from tl_hpo.search.executors.base import Executor, Inline
from tl_hpo.search.executors.local import ProcessExecutor
from tl_hpo.search.executors.ray_connection import connect
from tl_hpo.search.executors.ray_shares import check_wanted, make_share
from tl_hpo.search.executors.slots import AUTO, CPU, Slot, make_slots, usable_cores
from tl_hpo.search.executors.slurm import FOLDER, SlurmExecutor
from tl_hpo.search.executors.slurm_settings import SlurmSettings
from tl_hpo.search.executors.wire import Setup
from tl_hpo.training.devices import count_gpus
from tl_hpo.training.runner import LocalRunner
from tl_hpo.training.worker import memory_of

KINDS = ("local", "inline", "ray", "slurm")
RAY_OPTIONS = {
    *("address", "workers", "gpus", "cpus", "store_dir", "node_ip_address", "dashboard"),
}


def runs_elsewhere(config: DictConfig) -> bool:
    """Tell whether trials run on other machines, with other devices than this one."""
    settings = config.executor
    return OmegaConf.is_dict(settings) and settings.get("kind") in ("ray", "slurm")


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
    make = _ray if settings.kind == "ray" else _local
    return make(plain, config, runner)


def _local(settings: Mapping[str, Any], config: DictConfig, runner: LocalRunner) -> Executor:
    _check_options(settings, {"devices", "workers", "per_device"})
    slots = make_slots(
        devices=CPU if _on_cpu(config) else settings["devices"],
        workers=settings["workers"],
        per_device=settings["per_device"],
        n_gpus=count_gpus(),
        cores=usable_cores(),
        per_trial=config.trainer.devices,
    )

    n_slots = len(slots)
    bars = n_slots == 1 and not draws_live(config)  # now: under the table it looks like no terminal

    def setup(slot: Slot) -> Setup:
        machine = _machine(runner, on_cpu=not slot.devices, bars=bars)
        return _setup(machine, 1 / n_slots, slot.share)

    return ProcessExecutor(setup, slots)


def _ray(settings: Mapping[str, Any], config: DictConfig, runner: LocalRunner) -> Executor:
    _check_options(settings, RAY_OPTIONS)
    wanted = {key: settings[key] for key in ("workers", "cpus", "gpus")}
    check_wanted(**wanted)
    connection = connect(
        address=settings["address"],
        node_ip_address=settings["node_ip_address"],
        dashboard=settings["dashboard"],
        cores=usable_cores(),
        on_cpu=_on_cpu(config) or wanted["gpus"] == 0,
    )
    try:
        # Not above: Ray, which is optional, is imported as `connect` wants it.
        from tl_hpo.search.executors.ray_cluster import RayExecutor

        if _on_cpu(config) and wanted["gpus"] == AUTO:
            wanted["gpus"] = 0
        share = make_share(connection.nodes(), **wanted, together=config.trainer.devices)
        bars = share.workers == 1 and not draws_live(config)
        machine = _machine(runner, on_cpu=not share.gpus, bars=bars)
        folder = settings["store_dir"] or config.store.dir
        machine["config"]["store"]["dir"] = str(Path(folder).absolute())
        setup = _setup(machine, 1 / share.per_node, min(share.gpus, 1.0) or 1.0)
        return RayExecutor(connection, setup, share)
    except BaseException:
        connection.close()
        raise


def _slurm(
    settings: Mapping[str, Any], config: DictConfig, runner: LocalRunner, folder: Path
) -> Executor:
    _check_options(settings, {each.name for each in fields(SlurmSettings)})
    wanted = SlurmSettings(**{key: value for key, value in settings.items() if key != "kind"})
    wanted.check()
    if _on_cpu(config):
        wanted = replace(wanted, gpus_per_node=0)
    elif wanted.gpus_per_node:  # null leaves them to executor.additional
        wanted = replace(wanted, gpus_per_node=max(wanted.gpus_per_node, config.trainer.devices))
    arguments = _machine(runner, on_cpu=wanted.gpus_per_node == 0, bars=False)
    machine = arguments["config"]
    machine["store"]["dir"] = wanted.store_dir or machine["store"]["dir"]
    machine["reuse"] = memory_of(machine["reuse"], wanted.mem_gb)
    setup = _setup(arguments, 1.0, 1.0)
    return SlurmExecutor(
        setup, wanted.submitter(), wanted.workers, folder / FOLDER, wanted.timing()
    )


def _check_options(settings: Mapping[str, Any], known: set[str]) -> None:
    for key in settings.keys() - known - {"kind"}:
        raise unknown("executor", key, sorted(known))


def _on_cpu(config: DictConfig) -> bool:
    return bool(config.trainer.accelerator == CPU)


def _machine(runner: LocalRunner, *, on_cpu: bool, bars: bool) -> dict[str, Any]:
    """Return the runner's settings for one of the processes that run trials.

    Without ``bars`` it draws none, for those of several processes, or those under a table, would
    write over each other.
    """
    arguments = runner.arguments
    trainer = arguments["config"]["trainer"]
    if on_cpu:
        trainer["accelerator"] = CPU
    trainer["progress"] = trainer["progress"] and bars
    return arguments


def _setup(arguments: dict[str, Any], host_share: float, device_share: float) -> Setup:
    """Return what makes the runner there, with its part of the memory that it finds there."""
    shares = {"host_share": host_share, "device_share": device_share}
    return Setup("tl_hpo.training.runner:make_runner", arguments | shares, sys.path)
