"""trainer.devices=2, as a user types it, on two processes of the CPU."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tl_hpo.files import read_csv
from tl_hpo.training import ranks

TWO = "trainer.devices=2"
PATIENCE_SECONDS = 120


def folder(root):
    return ["dataset=folder", f"dataset.root={root}"]


def running(root):
    """Return the processes that train together with others in the folder ``root``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (path / "cmdline").read_text().split("\0")
            where = os.readlink(path / "cwd")
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if ranks.MODULE in arguments and where == str(root) and state != "Z":
            found.append(int(path.name))
    return found


def until(reached):
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        if reached():
            return
        time.sleep(0.05)
    raise AssertionError("never came about")


@pytest.mark.slow
def test_train_runs_on_two(command, image_folder, tiny, tmp_path):
    settings = [text for text in tiny if not text.startswith("search.")]
    model = ["model=timm", "model.name=test_resnet", "hydra.run.dir=out"]
    outcome = command("train", *folder(image_folder()), *settings, *model, TWO)
    assert outcome.code == 0, outcome.err
    result = json.loads(Path("out/result.json").read_text())
    assert (result["state"], result["phases"]["finetune"]["epochs"]) == ("COMPLETE", 1)
    assert result["test"]["accuracy"] >= 0
    assert not running(tmp_path)


@pytest.mark.slow
def test_every_trial_of_a_search_runs_on_two(command, image_folder, tiny, tmp_path):
    few = ["search.n_trials=2", "search.layer_trials=1"]
    seen: set[int] = set()
    over = threading.Event()

    def watch():
        while not over.wait(0.2):
            seen.update(running(tmp_path))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        outcome = command("optimize", *folder(image_folder()), *tiny, *few, TWO)
    finally:
        over.set()
        watcher.join()
    assert outcome.code == 0, outcome.err
    assert len(seen) == 3  # one beside the worker in every trial
    rows = read_csv(Path("runs/folder/shared/trials.csv"))
    assert [row["state"] for row in rows] == ["COMPLETE"] * 3
    assert not running(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_trial(start, image_folder, tiny, tmp_path, how):
    settings = [text for text in tiny if not text.startswith("search.")]
    long = ["finetune.epochs=5000", "finetune.patience=null", "model=timm"]
    process = start(
        "train.py", *folder(image_folder()), *settings, *long, "model.name=test_resnet", TWO
    )
    until(lambda: running(tmp_path) or process.poll() is not None)
    time.sleep(8)  # into the fine-tune phase, on most machines
    assert process.poll() is None, process.communicate()
    process.send_signal(how)
    process.communicate(timeout=PATIENCE_SECONDS)
    until(lambda: not running(tmp_path))


@pytest.mark.parametrize("script", ["train", "optimize"])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["trainer.devices=99", "trainer.accelerator=auto"], "trainer.devices must be at most"),
        (["trainer.devices=two"], "trainer.devices must be an integer"),
        (["trainer.devices=3", "batch_size=8"], "batch_size must be a multiple"),
    ],
)
def test_what_there_is_not_is_told_in_one_line(command, image_folder, tiny, script, settings, told):
    outcome = command(
        script, *folder(image_folder()), *[t for t in tiny if "search." not in t], *settings
    )
    assert outcome.code == 2, outcome.err
    assert told in outcome.err
    assert "Traceback" not in outcome.err
