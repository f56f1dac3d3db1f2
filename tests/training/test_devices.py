import platform
from pathlib import Path

import pytest
import torch

from tl_hpo.errors import UserError
from tl_hpo.training import devices
from tl_hpo.training.devices import device_name, device_of, has_bf16, host_memory, resolve_precision


@pytest.fixture
def hardware(monkeypatch):
    """Pretend that this CPU has, or has not, instructions for bf16."""

    def pretend(avx512: bool, amx: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)

    return pretend


def test_precision_is_named_as_lightning_does():
    assert resolve_precision(32, "auto") == resolve_precision("32", "cpu") == "32-true"
    assert resolve_precision("bf16", "cpu") == "bf16-mixed"
    with pytest.raises(UserError, match="auto, 32 or bf16"):
        resolve_precision("fp16", "cpu")


@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("amx", [False, True])
def test_auto_is_bf16_where_the_hardware_has_it(hardware, avx512, amx):
    hardware(avx512, amx)
    assert has_bf16(torch.device("cpu")) == (avx512 or amx)
    expected = "bf16-mixed" if avx512 or amx else "32-true"
    assert resolve_precision("auto", "cpu") == expected
    assert resolve_precision("32", "cpu") == "32-true"


def test_this_cpus_flags_agree_with_what_linux_says_of_it():
    flags = Path("/proc/cpuinfo").read_text().split()
    assert has_bf16(torch.device("cpu")) == bool({"avx512_bf16", "amx_bf16"} & set(flags))


def test_the_device_is_the_one_that_lightning_chooses():
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_processor_has_the_name_that_linux_tells_or_its_kind(monkeypatch, tmp_path):
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr(devices, "_CPU_INFO", told)
    assert device_name(torch.device("cpu")) in (platform.processor(), platform.machine())
    told.write_text("processor\t: 0\nmodel name\t: Fast: 9 GHz\nprocessor\t: 1\nmodel name\t: b\n")
    assert device_name(torch.device("cpu")) == "Fast: 9 GHz"


def test_memory_ends_at_the_limit_of_the_container(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(devices, "_CGROUP_LIMITS", (tmp_path / "absent", limit))
    limit.write_text("max\n")
    machine = host_memory()
    assert machine > 2**28
    limit.write_text("1000000\n")
    assert host_memory() == 1_000_000
