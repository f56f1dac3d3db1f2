import errno
import pickle

import numpy as np
import pytest
import torch

from tl_hpo import memory
from tl_hpo.memory import MemoryShortError, in_words, is_short, oom_kills


def chained():
    try:
        raise MemoryError
    except MemoryError as error:
        raise ValueError("the file cannot be read") from error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory"),
        RuntimeError("std::bad_alloc"),
        MemoryShortError("its worker was ended"),
    ],
)
def test_what_says_that_memory_is_short_is_known(error):
    assert is_short(error)


def test_what_torch_and_numpy_raise_here_is_known():
    for allocate in (lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert is_short(caught.value)


def test_what_it_was_raised_from_counts():
    with pytest.raises(ValueError, match="cannot be read") as caught:
        chained()
    assert is_short(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("out of memory"), OSError(2, "no file")]
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_short(error)


def test_it_travels_between_processes():
    error = pickle.loads(pickle.dumps(MemoryShortError("what", "where")))
    assert (str(error), error.trace) == ("what", "where")


def test_it_is_told_in_one_line():
    assert in_words(RuntimeError("first\nsecond")) == "first"
    assert in_words(MemoryError()) == "MemoryError"


def test_what_the_system_has_ended_is_counted_in_both_places(monkeypatch, tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    (tmp_path / "memory.events").write_text("low 0\noom 9\noom_kill 2\noom_group_kill 7\n")
    monkeypatch.setattr(memory, "_VMSTAT", tmp_path / "vmstat")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    assert oom_kills() == 5
