"""Where workers run: devices in turn, memory and threads divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.errors import UserError
from tl_hpo.search.executors.slots import Slot, make_slots, usable_cores

USUAL = {"devices": "auto", "workers": None, "per_device": 1, "n_gpus": 0, "cores": 8}


def slots(**changed):
    return make_slots(**(USUAL | changed))


def test_a_machine_without_a_gpu_has_one_worker_with_all_threads():
    assert slots() == [Slot((), 1.0, 8)]


def test_every_gpu_has_a_worker():
    found = [(each.devices, each.share) for each in slots(n_gpus=3)]
    assert found == [((0,), 1), ((1,), 1), ((2,), 1)]


def test_workers_share_large_gpus():
    found = slots(devices=[0, 2], n_gpus=3, per_device=2)
    assert [each.devices for each in found] == [(0,), (2,), (0,), (2,)]
    assert {each.share for each in found} == {0.5}


def test_trials_that_several_gpus_train_have_a_worker_for_each_group_of_them():
    found = slots(n_gpus=5, per_trial=2)
    assert [each.devices for each in found] == [(0, 1), (2, 3)]
    assert {each.share for each in found} == {1.0}
    shared = slots(devices=[3, 1], n_gpus=4, per_trial=2, per_device=2)
    assert [(each.devices, each.share) for each in shared] == [((3, 1), 0.5)] * 2
    assert [each.devices for each in slots(per_trial=2, workers=2)] == [(), ()]


def test_workers_of_the_cpu_divide_the_threads():
    assert slots(devices="cpu", workers=3, n_gpus=2) == [Slot((), 1 / 3, 2)] * 3


@given(st.integers(1, 64), st.integers(1, 64))
def test_threads_never_exceed_the_cores_unless_workers_do(workers, cores):
    found = slots(workers=workers, cores=cores)
    assert sum(each.threads for each in found) <= max(cores, workers)
    assert sum(each.share for each in found) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"devices": [0, 3], "n_gpus": 3}, "of the 3 that torch finds here, got [0, 3]"),
        ({"devices": [0, 0], "n_gpus": 3}, "different GPUs"),
        ({"devices": "gpu"}, "must be auto, cpu or a list"),
        ({"devices": []}, "must be auto, cpu or a list"),
        ({"devices": [True], "n_gpus": 2}, "must be auto, cpu or a list"),
        ({"workers": 0}, "executor.workers must be a whole number of at least 1, got 0"),
        ({"workers": 2.5}, "got 2.5"),
        ({"per_device": "all"}, "executor.per_device must be a whole number"),
        ({"workers": 5, "n_gpus": 2}, "set executor.per_device=3"),
        ({"workers": 3, "n_gpus": 4, "per_trial": 2}, "each of the 2 groups of 2 GPUs, got 3"),
        ({"n_gpus": 3, "per_trial": 4}, "at most the 3 GPUs of executor.devices, got 4"),
        ({"devices": [0], "n_gpus": 3, "per_trial": 2}, "at most the 1 GPUs"),
    ],
)
def test_what_makes_no_sense_is_told(changed, told):
    with pytest.raises(UserError) as error:
        slots(**changed)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("devices", "visible", "seen"),
    [
        ((), "0,1", ""),
        ((1,), None, "1"),
        ((1,), "4,6", "6"),
        ((0,), "GPU-a,GPU-b", "GPU-a"),
        ((2, 0), "4,5,6", "6,4"),
    ],
)
def test_a_worker_sees_its_devices_alone(devices, visible, seen):
    before = {"PATH": "x"} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    environment = Slot(devices, 1.0, 3).environment(before)
    assert environment["CUDA_VISIBLE_DEVICES"] == seen
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["PATH"] == "x"


def test_fewer_threads_may_be_asked_for():
    cores = usable_cores({})
    assert usable_cores({"OMP_NUM_THREADS": "1"}) == 1
    assert usable_cores({"OMP_NUM_THREADS": "9999"}) == cores
    assert usable_cores({"OMP_NUM_THREADS": "many"}) == cores
