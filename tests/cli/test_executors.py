"""Experiments on several workers, as a user types them, on real components."""

import json
import os
import pickle
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tl_hpo.cli import execution
from tl_hpo.config import CONF_DIR, register_resolvers
from tl_hpo.files import read_csv
from tl_hpo.search.executors.ray_shares import Node
from tl_hpo.training.runner import LocalRunner
from tl_hpo.training.saved import load_model

PATIENCE_SECONDS = 240
SAME = ("step", "number", "state", "model", "head_optimizer", "head_lr", "delimiting_layer",
        "val_accuracy", "epochs")  # fmt: skip


def command_line(root, tiny, *more):
    return [
        *("dataset=folder", f"dataset.root={root}", *tiny, "pruner=none"),
        *("search.n_trials=4", "search.layer_trials=2", *more),
    ]


def children(pid):
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def until(process, reached):
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if reached():
            return
        if process.poll() is not None:
            raise AssertionError(f"ended by itself: {process.communicate()}")
        time.sleep(0.02)
    raise AssertionError("never came about")


@pytest.mark.slow
def test_a_worker_process_trains_what_this_process_would(command, image_folder, tiny, tmp_path):
    root = image_folder()
    for executor in ("inline", "local"):
        arguments = command_line(root, tiny, f"executor={executor}", f"name={executor}")
        outcome = command("optimize", *arguments)
        assert outcome.code == 0, outcome.err
    tables = [
        [[row[key] for key in SAME] for row in read_csv(f"runs/folder/shared-{name}/trials.csv")]
        for name in ("inline", "local")
    ]
    assert tables[0] == tables[1]
    bests = [
        json.loads(Path(f"runs/folder/shared-{name}/best.json").read_text())
        for name in ("inline", "local")
    ]
    for key in ("step", "number", "val_accuracy", "validation", "test"):
        assert bests[0][key] == bests[1][key]


@pytest.mark.slow
def test_a_killed_worker_costs_its_running_trial_alone(start, image_folder, tiny, tmp_path):
    arguments = command_line(image_folder(), tiny, "executor.workers=2", "head.epochs=60")
    process = start("optimize.py", *arguments, "head.patience=null")
    run = tmp_path / "runs" / "folder" / "shared"

    def both_train():
        table = run / "trials.csv"
        return table.exists() and [r["state"] for r in read_csv(table)].count("RUNNING") == 2

    until(process, both_train)
    workers = children(process.pid)
    os.kill(workers[0], signal.SIGKILL)
    out, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    assert "runs again: its worker process" in out
    rows = read_csv(run / "trials.csv")
    assert [row["step"] for row in rows] == ["shared"] * 4 + ["layers"] * 2
    assert {row["state"] for row in rows} == {"COMPLETE"}
    curves = read_csv(run / "curves.csv")
    assert len({tuple(row[k] for k in ("step", "number", "phase", "epoch")) for row in curves}) == (
        len(curves)
    )
    best = json.loads((run / "best.json").read_text())
    metrics = json.loads((run / "best_model" / "metrics.json").read_text())
    assert metrics["validation"] == best["validation"]
    load_model(run / "best_model")
    assert not list(run.rglob("*.tmp"))
    assert not list((run / "trials").glob("*/model"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["executor.workers=0"], "executor.workers must be a whole number of at least 1, got 0"),
        (["executor.devices=[7]"], "executor.devices must be different GPUs of the"),
        (["executor=nothing"], "executor"),
        (["executor={kind: wrong}"], "executor"),
        (["+executor.gpus=1"], "executor must be a known name, got 'gpus'"),
    ],
)
def test_settings_that_make_no_sense_are_told(command, image_folder, tiny, arguments, told):
    outcome = command("optimize", "dataset=folder", f"dataset.root={image_folder()}", *tiny,
                      "trainer.accelerator=auto", *arguments)  # fmt: skip
    assert outcome.code == 2
    assert told in outcome.err
    assert "Traceback" not in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


class Cluster:
    def nodes(self):
        return [Node(2.0, 0.0)]


@pytest.mark.parametrize("kind", ["local", "ray", "slurm"])
def test_what_workers_and_jobs_are_given_holds_no_password(monkeypatch, tmp_path, kind):
    pytest.importorskip({"ray": "ray", "slurm": "submitit"}.get(kind, "torch"))
    given = []
    monkeypatch.setattr(
        execution, "ProcessExecutor", lambda make, slots: given.append(make(*slots))
    )
    monkeypatch.setattr(execution, "SlurmExecutor", lambda setup, *_: given.append(setup))
    monkeypatch.setattr(execution, "connect", lambda **_: Cluster())
    if kind == "ray":
        ray_cluster = "tl_hpo.search.executors.ray_cluster.RayExecutor"
        monkeypatch.setattr(ray_cluster, lambda connection, setup, share: given.append(setup))
    register_resolvers()
    settings = [f"executor={kind}", "study.storage='postgresql://tests:secret-word@host/db'"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=[*settings, "trainer.accelerator=cpu"])
    assert "secret-word" in config.study.storage
    execution.make_executor(config, LocalRunner([], config), tmp_path)
    (setup,) = given
    assert setup.maker == "tl_hpo.training.runner:make_runner"
    assert b"secret-word" not in pickle.dumps(setup)
