"""executor=ray as a user types it."""

import signal
import sys
import time
from pathlib import Path

import pytest
from ray_processes import alone, processes

from tl_hpo.files import read_csv

PATIENCE_SECONDS = 180
needs_ray = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('ray')")


@pytest.fixture
def ray_folder():
    with alone() as folder:
        yield folder


def arguments(image_folder, tiny, *more):
    return [
        *("dataset=folder", f"dataset.root={image_folder(per_class=20)}", *tiny, "executor=ray"),
        *("search.n_trials=2", "search.layer_trials=1", "pruner=none", *more),
    ]


@pytest.mark.slow
@needs_ray
def test_an_experiment_is_interrupted_and_goes_on(
    start, image_folder, tiny, tmp_path, ray_folder, monkeypatch
):
    command = arguments(image_folder, tiny, "executor.cpus=1", "executor.workers=2")
    run = tmp_path / "runs" / "folder" / "shared"
    first = start("optimize.py", *command)
    until = time.monotonic() + PATIENCE_SECONDS
    while not (run / "trials.csv").exists() and time.monotonic() < until:
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 130, errors
    assert "Traceback" not in errors
    assert processes(ray_folder) == []

    store = f"executor.store_dir={tmp_path / 'node'}"
    last = start("optimize.py", *command, store, "trainer.devices=2")  # two processes a trial
    _, errors = last.communicate(timeout=PATIENCE_SECONDS)
    assert last.returncode == 0, errors
    rows = read_csv(run / "trials.csv")
    assert [row["step"] for row in rows] == ["shared"] * 2 + ["layers"]
    assert {row["state"] for row in rows} == {"COMPLETE"}
    assert (run / "best_model" / "model.safetensors").exists()
    assert list((tmp_path / "node" / "heads").iterdir())
    assert not list(run.rglob("*.tmp"))


@needs_ray
def test_a_cluster_that_does_not_answer(command, image_folder, tiny, ray_folder):
    settings = arguments(image_folder, tiny, "executor.address=127.0.0.1:9")
    assert_told(command("optimize", *settings), "executor.address", "127.0.0.1:9", "ray start")


def test_ray_is_not_installed(command, image_folder, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = command("optimize", *arguments(image_folder, tiny))
    assert_told(outcome, "the package ray", "pip install 'tl_hpo[ray]'")
    assert not Path("runs/folder/shared/trials.csv").exists()


def assert_told(outcome, *words):
    assert outcome.code == 2, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    for word in words:
        assert word in lines[0]
