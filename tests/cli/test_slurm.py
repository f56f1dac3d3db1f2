"""Searches and sweeps on a real SLURM cluster of one node, as a user types them."""

import json
import subprocess
import time

import pytest

from tl_hpo.files import read_csv

pytest.importorskip("submitit")

PATIENCE_SECONDS = 400
SMALL = (
    "executor=slurm",
    "executor.workers=2",
    "executor.cpus_per_task=1",
    "executor.gpus_per_node=0",
    "executor.mem_gb=1.5",
    "executor.timeout_min=10",
)
TRIALS = ("search.n_trials=2", "search.layer_trials=1", "pruner=none")


def data(root):
    return ("dataset=folder", f"dataset.root={root}")


def queue():
    listed = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@pytest.mark.slow
def test_a_search_whose_trials_are_jobs(slurm, start, image_folder, tiny, tmp_path):
    search = start("optimize.py", *data(image_folder()), *tiny, *SMALL, *TRIALS)
    out, err = search.communicate(timeout=PATIENCE_SECONDS)
    assert search.returncode == 0, out + err
    run = tmp_path / "runs" / "folder" / "shared"
    rows = read_csv(run / "trials.csv")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 3, out
    assert len(read_csv(run / "curves.csv")) == 6
    best = json.loads((run / "best.json").read_text())
    assert best["val_accuracy"] == max(float(row["val_accuracy"]) for row in rows)
    assert (run / "best_model" / "model.safetensors").exists()
    assert not list(run.glob("trials/*/model"))
    assert not (run / ".slurm").exists()
    assert queue() == []


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs_and_the_repeated_command_goes_on(
    slurm, start, image_folder, tiny, tmp_path
):
    arguments = (*data(image_folder()), *tiny, *SMALL, *TRIALS)
    search = start("optimize.py", *arguments)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(queue()) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    search.send_signal(2)
    _, err = search.communicate(timeout=PATIENCE_SECONDS)
    assert search.returncode == 130, err
    assert queue() == []
    run = tmp_path / "runs" / "folder" / "shared"
    assert not (run / ".slurm").exists()
    again = start("optimize.py", *arguments, "trainer.devices=2")  # two processes a trial
    _, err = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, err
    assert [row["state"] for row in read_csv(run / "trials.csv")] == ["COMPLETE"] * 3


def test_what_slurm_does_not_accept_is_the_users_mistake(slurm, command, image_folder, tiny):
    outcome = command(
        "optimize", *data(image_folder()), *tiny, *SMALL, *TRIALS, "executor.partition=nowhere"
    )
    assert outcome.code == 2
    line = outcome.err.splitlines()[-1]
    assert "got: sbatch: error: invalid partition specified: nowhere" in line
    assert "Traceback" not in outcome.err


def sweep(start, root, tiny, *launcher):
    settings = [override for override in tiny if "search" not in override]
    return start(
        "train.py", "-m", *data(root), *settings, *launcher,
        "model=timm", "model.name=test_resnet,test_efficientnet",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_slurm", "submitit_local"])
def test_a_sweep_of_hydras_own(request, launcher, start, image_folder, tiny, tmp_path):
    settings = [f"hydra/launcher={launcher}", "hydra.launcher.cpus_per_task=1"]
    if launcher == "submitit_slurm":
        request.getfixturevalue("slurm")
        settings.append("hydra.launcher.mem_gb=2")
    process = sweep(start, image_folder(), tiny, *settings)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    results = sorted(tmp_path.glob("runs/folder/train/*/*/result.json"))
    assert [path.parent.name for path in results] == ["0", "1"]


@pytest.mark.slow
def test_a_mistake_in_a_job_of_a_sweep_is_told(start, image_folder, tiny, tmp_path):
    process = sweep(
        start, image_folder(), tiny, "hydra/launcher=submitit_local", "imbalance=unheard_of"
    )
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 2, err
    assert "unheard_of" in err.splitlines()[-1]
    assert "Traceback" not in err
