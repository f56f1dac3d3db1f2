"""What this machine computes with: its device, its arithmetic, its memory."""

import ctypes
import gc
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from tl_hpo.errors import UserError, unknown

ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
FP32, BF16 = "32-true", "bf16-mixed"  # Lightning's names

_CPU_INFO = Path("/proc/cpuinfo")
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def check_accelerator(accelerator: Any) -> None:
    """Raise UserError for a device that is unknown or not there."""
    if accelerator not in ACCELERATORS:
        raise unknown("trainer.accelerator", str(accelerator), ACCELERATORS)
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError(
            f"trainer.accelerator must be a device of this machine, got {accelerator!r} where "
            "torch finds no CUDA; use auto or cpu, or mend the driver."
        )


def check_count(devices: Any) -> None:
    """Raise UserError for what is no number of devices, on any machine."""
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise UserError(f"trainer.devices must be an integer of at least 1, got {devices!r}.")


def check_devices(accelerator: str, devices: int) -> None:
    """Raise UserError for a number of devices that this machine has not got.

    Of the CPU, several are so many processes: for trying out.
    """
    if accelerator != "cpu" and devices > max(1, count_gpus()):
        raise UserError(
            f"trainer.devices must be at most the {count_gpus()} GPUs that torch finds here, got "
            f"{devices}; lower it, or set trainer.accelerator=cpu to try so many processes."
        )


def device_of(accelerator: str) -> torch.device:
    """Return the device that Lightning will choose for ``accelerator``."""
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the processor where the system tells it, else its kind."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def count_gpus() -> int:
    """Return the number of CUDA devices that torch finds; none of them is touched."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolve_precision(precision: Any, accelerator: str) -> Any:
    """Return Lightning's name for ``auto``, ``32`` or ``bf16``.

    ``auto`` is bf16 where the device multiplies matrices of it in hardware, fp32 otherwise.
    """
    names = {"32": FP32, "bf16": BF16}
    if str(precision) in names:
        return names[str(precision)]
    if precision != "auto":
        raise UserError(f"precision must be auto, 32 or bf16, got {precision!r}.")
    return BF16 if has_bf16(device_of(accelerator)) else FP32


def has_bf16(device: torch.device) -> bool:
    """Tell whether ``device`` computes bf16 in hardware: Ampere GPUs, AVX512_BF16 or AMX CPUs."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def host_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's or its container's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # absent, or "max"
            total = min(total, int(path.read_text()))
    return total


def release_memory() -> None:
    """Give back what a trial no longer needs, to the device and to the machine."""
    gc.collect()  # modules, trainers and callbacks refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # glibc alone keeps freed memory, and has this remedy
        ctypes.CDLL("libc.so.6").malloc_trim(0)
