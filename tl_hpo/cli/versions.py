"""What an experiment runs on: software, machine, device."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from tl_hpo.training.devices import device_of

PACKAGES = (
    "tl_hpo",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "optuna",
    "GPyOpt",
    "numpy",
    "pillow",
)
CPU_INFO = Path("/proc/cpuinfo")


def versions(accelerator: str) -> dict[str, str]:
    """Return the versions of the software by its name, and the names of system and device.

    ``accelerator`` is what chooses the device: ``trainer.accelerator``.
    """
    found = {name: _version(name) for name in PACKAGES}
    told = {"Python": platform.python_version(), **found, "system": platform.platform()}
    return told | {"device": _device(accelerator)}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # not installed as a package: run from its folder
        return "not installed"


def _device(accelerator: str) -> str:
    device = device_of(accelerator)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _processor() -> str:
    """Return the name of the processor, where the system tells it."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
