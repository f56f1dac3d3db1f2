"""Memory that is not enough in a worker process: told, tried with half the batch, survived."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tl_hpo.config import compose_trial
from tl_hpo.files import read_csv
from tl_hpo.memory import MemoryShortError
from tl_hpo.overrides import values_of
from tl_hpo.search.executors import local
from tl_hpo.search.executors.base import WorkerDiedError
from tl_hpo.search.executors.local import ProcessExecutor
from tl_hpo.search.executors.slots import Slot
from tl_hpo.search.executors.wire import Setup
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.strategy import parse_strategy
from tl_hpo.search.study import OVERRIDES, open_storage, stored_trials
from tl_hpo.training.runner import LocalRunner

HERE = Path(__file__).parent
TRIAL = ["model=vgg16", "optimizer=adam", "optimizer.lr=0.01"]
MEGABYTES = 800  # not enough for 64 images of the trial below, and plenty for 8


def never(record):
    return False


def always(result):
    return True


def test_that_memory_was_short_comes_back_and_the_worker_stays(executor, ran, tmp_path):
    one = executor(1)
    with pytest.raises(MemoryShortError, match="CUDA out of memory") as caught:
        one.run([*TRIAL, "+do=need more"], tmp_path / "trial", never, always)
    assert caught.value.trace == "there"
    fewer = [*TRIAL, "+do=need more", "batch_size=16"]
    assert one.run(fewer, tmp_path / "trial", never, always).state == "COMPLETE"
    assert len({pid for _, pid, _ in ran()}) == 1


@pytest.mark.parametrize(("grows", "error"), [(1, MemoryShortError), (0, WorkerDiedError)])
def test_a_worker_that_the_system_ended_for_lack_of_memory(
    executor, tmp_path, monkeypatch, grows, error
):
    monkeypatch.setattr(local, "oom_kills", itertools.count(0, grows).__next__)
    with pytest.raises(error, match="signal SIGKILL"):
        executor(1).run([*TRIAL, "+do=die"], tmp_path / "trial", never, always)


@pytest.fixture
def large_trial(image_folder, tmp_path):
    """Overrides of a trial of large batches."""
    root = image_folder(classes=2, per_class=60)
    return [
        "dataset=folder", f"dataset.root={root}", f"store.dir={tmp_path / 'store'}", "split=random",
        "model=timm", "model.name=test_resnet", "model.weights=random", "image_size=224",
        "optimizer=adam", "head.epochs=1", "finetune.epochs=1", "delimiting_layer=0",
        "precision=32", "trainer.accelerator=cpu", "reuse.memory_gb=0.1", "reuse.disk_gb=0",
    ]  # fmt: skip


@pytest.mark.slow
def test_an_experiment_goes_on_where_the_memory_of_the_machine_ends(plan, large_trial):
    """The allocator of torch really refuses, for the worker may take no more memory."""
    runner = LocalRunner([], compose_trial(large_trial))
    setup = Setup(
        "runners:make_limited",
        {"megabytes": MEGABYTES, "arguments": runner.arguments},
        [str(HERE), str(HERE.parent), *sys.path],
    )
    machine = ("store.", "reuse.", "trainer.")
    strategy = {
        "name": "two",
        "steps": [{"name": "two", "trials": 2, "space": {"batch_size": {"choices": [64, 8]}}}],
    }
    p = replace(
        plan(),
        strategy=parse_strategy(OmegaConf.to_container(OmegaConf.create(strategy))),
        overrides=[text for text in large_trial if not text.startswith(machine)],
    )
    executor = ProcessExecutor(lambda slot: setup, [Slot((), 1.0, 1)])
    try:
        Experiment(p, runner, executor=executor).run()
    finally:
        executor.close()
    rows = {row["batch"]: row for row in batches(p.folder)}
    assert (rows["8"]["state"], rows["8"]["reason"]) == ("COMPLETE", "")
    short = rows.get("32") or rows["64"]
    if short["state"] == "COMPLETE":
        assert short["reason"] == "half the batch, for lack of memory"
    else:
        assert short["reason"].startswith("out of memory, also with half the batch (32 twice): ")


def batches(folder):
    """Return the trials, each with the batch that it was trained with in the end."""
    trials = stored_trials(open_storage(folder / "study.db"), ["two"])["two"]
    for row, trial in zip(read_csv(folder / "trials.csv"), trials, strict=True):
        yield row | {"batch": values_of(trial.user_attrs[OVERRIDES])["batch_size"]}
