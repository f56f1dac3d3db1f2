"""Where the workers of one machine run: devices and a share of them for each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tl_hpo import processes
from tl_hpo.errors import UserError

CPU = "cpu"
AUTO = "auto"


@dataclass(frozen=True)
class Slot:
    """The place of one worker.

    Attributes:
        devices: ordinals of GPUs among those that this process sees; none of them: the CPU.
        share: of its devices' and the machine's memory, in (0, 1].
        threads: that it computes with.

    """

    devices: tuple[int, ...]
    share: float
    threads: int

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a worker that sees its devices alone."""
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else []
        seen = [names[device] if names else str(device) for device in self.devices]
        return {
            **environment,
            "CUDA_VISIBLE_DEVICES": ",".join(seen),
            **processes.threads(self.threads),
        }


def make_slots(
    *, devices: Any, workers: Any, per_device: Any, n_gpus: int, cores: int, per_trial: int = 1
) -> list[Slot]:
    """Return a slot per worker, the devices in turn.

    Several GPUs that train one trial are one place for workers; those left over have none.

    Args:
        devices: ``auto`` (every GPU, or the CPU where there is none), ``cpu``, or ordinals of GPUs.
        workers: how many; None: ``per_device`` for each device.
        per_device: workers that share a device, at least 1.
        n_gpus: that this process sees, and may use.
        cores: that this process may use.
        per_trial: GPUs that train one trial together.

    Raises:
        UserError: one of them makes no sense here.

    """
    chosen = _together(_devices(devices, n_gpus), per_trial)
    _check_count("executor.per_device", per_device)
    if workers is None:
        workers = per_device * len(chosen)
    _check_count("executor.workers", workers)
    if chosen != [()] and workers > per_device * len(chosen):
        raise UserError(
            f"executor.workers must be at most executor.per_device for each of the {len(chosen)} "
            f"{'GPUs' if per_trial == 1 else f'groups of {per_trial} GPUs'}, got {workers} with "
            f"executor.per_device={per_device}; set "
            f"executor.per_device={-(-workers // len(chosen))} if they have the memory."
        )
    places = [chosen[number % len(chosen)] for number in range(workers)]
    threads = max(1, cores // workers)
    return [Slot(place, 1 / places.count(place), threads) for place in places]


def _together(ordinals: Sequence[int], per_trial: int) -> list[tuple[int, ...]]:
    """Return the GPUs in groups; one empty group stands for the CPU."""
    if not ordinals:
        return [()]
    if per_trial > len(ordinals):
        raise UserError(
            f"trainer.devices must be at most the {len(ordinals)} GPUs of executor.devices, got "
            f"{per_trial}; lower it, or give more of them."
        )
    last = len(ordinals) - per_trial
    return [tuple(ordinals[i : i + per_trial]) for i in range(0, last + 1, per_trial)]


def _devices(devices: Any, n_gpus: int) -> Sequence[int]:
    """Return the ordinals of GPUs; none for the CPU."""
    if devices == AUTO:
        return list(range(n_gpus))
    if devices == CPU:
        return []
    ordinals = devices if isinstance(devices, list) else [devices]
    if not ordinals or any(isinstance(d, bool) or not isinstance(d, int) for d in ordinals):
        raise UserError(
            f"executor.devices must be auto, cpu or a list of GPUs such as [0,1], got {devices!r}."
        )
    absent = [d for d in ordinals if not 0 <= d < n_gpus]
    if absent or len(set(ordinals)) < len(ordinals):
        raise UserError(
            f"executor.devices must be different GPUs of the {n_gpus} that torch finds here, got "
            f"{ordinals}; use auto, or cpu."
        )
    return list(ordinals)


def _check_count(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{key} must be a whole number of at least 1, got {value!r}.")


def usable_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Return the cores that this process may use; ``OMP_NUM_THREADS`` may say fewer."""
    cores = len(os.sched_getaffinity(0))
    said = environment.get("OMP_NUM_THREADS", "")
    return min(cores, int(said)) if said.isdigit() and int(said) > 0 else cores
