"""What an experiment runs on: software, machine, device."""

import platform
from importlib.metadata import PackageNotFoundError, version

from tl_hpo.training.devices import device_name, device_of

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


def versions(accelerator: str) -> dict[str, str]:
    """Return the versions of the software by its name, and the names of system and device.

    ``accelerator`` is what chooses the device: ``trainer.accelerator``.
    """
    found = {name: _version(name) for name in PACKAGES}
    told = {"Python": platform.python_version(), **found, "system": platform.platform()}
    return told | {"device": device_name(device_of(accelerator))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # not installed as a package: run from its folder
        return "not installed"
