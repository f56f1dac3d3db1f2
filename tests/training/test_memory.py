"""A trial for which memory is not enough leaves nothing behind, and may be tried again."""

import weakref

import pytest
import torch

from tl_hpo.memory import MemoryShortError
from tl_hpo.models.reuse.rooms import MemoryRoom
from tl_hpo.training import trial as trials
from tl_hpo.training.runner import LocalRunner


def never(record):
    return False


@pytest.fixture
def runner(trial_config):
    return LocalRunner([], trial_config("reuse.disk_gb=0"))


@pytest.fixture
def overrides(trial_config):
    """Overrides that compose to `trial_config`."""
    config = trial_config()
    return [
        "dataset=folder", f"dataset.root={config.dataset.root}", "model=timm",
        "model.name=test_resnet", "model.weights=random", "image_size=32", "batch_size=8",
        "head.epochs=1", "finetune.epochs=1", "precision=32",
    ]  # fmt: skip


def test_what_a_trial_held_is_free_once_memory_was_short(runner, overrides, tmp_path, monkeypatch):
    held = []

    def run_phase(phase, model, *_, **__):
        held.append(weakref.ref(model))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(trials, "run_phase", run_phase)
    with pytest.raises(MemoryShortError, match="Tried to allocate 2") as caught:
        runner.run(overrides, tmp_path / "trial", never, lambda result: True)
    assert "in run_phase" in caught.value.trace
    assert held[0]() is None
    rooms = runner.worker.frozen.rooms.values()
    assert all(room.used() == 0 for room in rooms if isinstance(room, MemoryRoom))


def test_a_trial_is_the_same_after_one_that_was_short(runner, overrides, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(trials, "run_phase", lambda *_, **__: torch.empty(1 << 50))
        with pytest.raises(MemoryShortError):
            runner.run(overrides, tmp_path / "trial", never, lambda result: True)
    fewer, words = runner.halved(overrides)
    assert words == "4 twice"
    assert runner.run(fewer, tmp_path / "trial", never, lambda result: True).epochs == 2


def test_where_frozen_layers_leave_no_memory_they_are_given_less(
    runner, overrides, tmp_path, monkeypatch
):
    frozen = runner.worker.frozen
    budget = frozen.rooms["memory"].budget

    def making(*_):
        raise MemoryError

    monkeypatch.setattr(MemoryRoom, "making", making)
    with pytest.raises(MemoryShortError, match="MemoryError"):
        runner.run([*overrides, "head.epochs=20"], tmp_path / "trial", never, lambda result: True)
    assert frozen.rooms["memory"].budget == budget // 2


@pytest.mark.parametrize(
    ("batch", "half"),
    [((8, 1), "4 twice"), ((16, 3), "8 6 times"), ((9, 1), None), ((2, 4), None)],
)
def test_a_batch_is_halved_where_that_gives_whole_batches(runner, overrides, batch, half):
    found = runner.halved([*overrides, f"batch_size={batch[0]}", f"accumulate={batch[1]}"])
    assert (found and found[1]) == half
