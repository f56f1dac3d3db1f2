import platform

import torch

from tl_hpo.cli import versions as module
from tl_hpo.cli.versions import versions


def test_software_machine_and_device_are_named():
    told = versions("cpu")
    assert told["Python"] == platform.python_version()
    assert torch.__version__.startswith(told["torch"])  # a build adds +cpu, say
    assert told["device"]
    assert all(isinstance(value, str) for value in told.values())


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("no-such-package",))
    assert versions("cpu")["no-such-package"] == "not installed"
