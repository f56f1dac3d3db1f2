"""Several processes that train one trial together, here on the CPU."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sockets import listening

from tl_hpo.errors import UserError
from tl_hpo.memory import MemoryShortError
from tl_hpo.training import ranks
from tl_hpo.training.group import HOST
from tl_hpo.training.ranks import RankError

TWO = "trainer.devices=2"
WITHOUT_BATCHNORM = ["model.name=test_convnext", "optimizer=sgd", "head.epochs=1"]


def others():
    """Return the processes that this one has started, and their arguments."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            arguments = (path / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if parent == os.getpid() and ranks.MODULE in arguments:
            found[int(path.name)] = arguments
    return found


@pytest.fixture(autouse=True)
def _none_is_left():
    yield
    assert not others()


def losses(records):
    return [(r.train_loss, r.val_loss) for r in records]


@pytest.mark.parametrize("how", ["reuse=false", "reuse.memory_gb=1"])
def test_two_processes_train_as_one_does(trial, how):
    one, alone = trial(*WITHOUT_BATCHNORM, how)
    two, together = trial(*WITHOUT_BATCHNORM, how, TWO)
    assert [(r.phase, r.number) for r in together] == [(r.phase, r.number) for r in alone]
    for mine, other in zip(losses(together), losses(alone), strict=True):
        assert mine == pytest.approx(other, abs=1e-4)
    assert two.val_accuracy == one.val_accuracy
    assert two.trainable_parameters == one.trainable_parameters


def test_pieces_and_processes_go_together(trial):
    _, alone = trial(*WITHOUT_BATCHNORM)
    _, together = trial(*WITHOUT_BATCHNORM, TWO, "batch_size=4", "accumulate=2")
    for mine, other in zip(losses(together), losses(alone), strict=True):
        assert mine == pytest.approx(other, abs=1e-4)


def test_frozen_layers_do_not_change_buffers_included(trial, prepared, tmp_path):
    start = prepared("head.epochs=1").model
    layer = len(start.layers) // 2
    trial(TWO, f"delimiting_layer={layer}", "head.epochs=1")
    state = load_file(tmp_path / "trial" / "model" / "model.safetensors")
    owners = {path for each in start.layers[:layer] for path in each.modules}
    before = start.backbone.state_dict()
    frozen = [key for key in before if key.rpartition(".")[0] in owners]
    assert any(key.endswith("running_mean") for key in frozen)
    assert all(torch.equal(before[key], state[key]) for key in frozen)
    assert any(not torch.equal(before[key], state[key]) for key in before.keys() - {*frozen})


def test_early_cancel_ends_all(trial):
    result, records = trial(TWO, stop=lambda record: record.number == 3)
    assert (result.state, result.epochs) == ("PRUNED", 3)
    assert [r.phase for r in records] == ["head", "head", "finetune"]


def test_a_trial_that_ends_in_its_head_phase_waits_for_nobody(trial):
    result, _ = trial(TWO, stop=lambda record: record.number == 1)
    assert (result.state, result.epochs) == ("PRUNED", 1)


def test_a_process_that_is_killed_ends_the_trial_with_a_reason(trial):
    def kill(record):
        if record.phase == "finetune":
            for pid in others():
                os.kill(pid, signal.SIGKILL)
        return False

    began = time.monotonic()
    with pytest.raises(RankError, match="rank 1 of 2 ended with signal SIGKILL"):
        trial(TWO, "head.epochs=1", "finetune.epochs=50", "finetune.patience=null", stop=kill)
    assert time.monotonic() - began < 120


def test_a_process_that_the_system_ended_for_lack_of_memory_is_told_so(trial, monkeypatch):
    kills = iter(range(10))
    monkeypatch.setattr(ranks, "oom_kills", lambda: next(kills))

    def kill(record):
        for pid in others():
            os.kill(pid, signal.SIGKILL)
        return False

    with pytest.raises(MemoryShortError, match="rank 1 of 2 ended with signal SIGKILL"):
        trial(TWO, "head.epochs=1", stop=kill)


def test_what_another_process_raises_ends_the_trial(trial, monkeypatch):
    original = ranks._Process.__init__

    def misled(self, setup, threads):
        setup.config["model"]["weights"] = "absent.safetensors"
        original(self, setup, threads)

    monkeypatch.setattr(ranks._Process, "__init__", misled)
    with pytest.raises(UserError, match=r"absent\.safetensors"):
        trial(TWO)


def test_an_exception_of_this_process_ends_the_others(trial):
    def stop(record):
        if record.phase == "finetune":
            raise KeyError("mine")
        return False

    with pytest.raises(KeyError, match="mine"):
        trial(TWO, "head.epochs=1", stop=stop)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([TWO, "batch_size=9"], "batch_size must be a multiple of trainer.devices"),
        (["trainer.devices=8"], "at least 2 for each, got 8 with trainer.devices=8"),
        (["trainer.devices=0"], "trainer.devices must be an integer of at least 1, got 0"),
        (["trainer.devices=99", "trainer.accelerator=auto"], "GPUs that torch finds here, got 99"),
    ],
)
def test_what_cannot_be_divided_is_refused(trial, overrides, told):
    with pytest.raises(UserError, match=told):
        trial(*overrides)


def test_the_optimizer_holds_what_trains_in_ddp_too(trial, monkeypatch):
    seen = []
    original = torch.nn.parallel.DistributedDataParallel.__init__

    def spy(self, module, **arguments):
        original(self, module, **arguments)
        wrapped = {id(p) for p in module.parameters() if p.requires_grad}
        seen.append((wrapped, module))

    monkeypatch.setattr(torch.nn.parallel.DistributedDataParallel, "__init__", spy)
    trial(TWO, "head.epochs=1", "finetune.epochs=1", "delimiting_layer=10")
    ((wrapped, module),) = seen  # one phase, wrapped after it was frozen
    assert wrapped == {id(p) for p in module.model.trainable().values()}
    owned = [path for layer in module.model.layers[10:] for path in layer.parameters]
    assert len(wrapped) == len(owned) + 2  # and the block's weight and bias


def test_the_processes_find_each_other_on_loopback_alone(trial):
    seen = {}

    def look(record):
        seen.update({pid: listening(pid) for pid in [os.getpid(), *others()]})
        return True

    trial(TWO, "head.epochs=1", stop=look)
    assert len(seen) == 2
    assert set.union(*seen.values()) == {HOST}
