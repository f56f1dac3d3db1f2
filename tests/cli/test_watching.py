"""What others draw of an experiment while it runs: Optuna's dashboard, and a logger's files."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tl_hpo.files import read_csv

PATIENCE = 120  # seconds, for what takes few


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(address):
    with urllib.request.urlopen(address, timeout=PATIENCE) as response:
        assert response.status == 200
        return response.read()


@contextmanager
def dashboard(storage, log):
    """Show a storage in Optuna's dashboard; the value is its address."""
    port = free_port()
    serve = "from optuna_dashboard._cli import main; main()"
    options = ["--host", "127.0.0.1", "--port", str(port), storage]
    with log.open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-c", serve, *options], stdout=told, stderr=subprocess.STDOUT
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def trials_shown(address):
    """Return what the dashboard's page asks for: the studies, and the trials of each."""
    studies = json.loads(get(f"{address}/api/studies"))["study_summaries"]
    return {
        study["study_name"]: json.loads(get(f"{address}/api/studies/{study['study_id']}?after=0"))[
            "trials"
        ]
        for study in studies
    }


def until_it_answers(address):
    for _ in range(PATIENCE * 10):
        try:
            return get(f"{address}/api/studies")
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError(address)


@pytest.mark.slow
def test_the_dashboard_shows_an_experiment_while_it_runs_and_does_not_disturb_it(
    start, image_folder, tiny, tmp_path
):
    run = tmp_path / "runs/folder/shared"
    process = start(
        "optimize.py", "dataset=folder", f"dataset.root={image_folder()}", *tiny, "audit=false",
        "search.models=[test_resnet]", "search.n_trials=6", "delimiting_layer=0.9",
        "finetune.epochs=20", "finetune.patience=null", "pruner=none", "logger=csv",
        OMP_NUM_THREADS="1",
    )  # fmt: skip
    while process.poll() is None and not (run / "study.db").exists():
        time.sleep(0.1)
    seen = []
    with dashboard(f"sqlite:///{run}/study.db", tmp_path / "dashboard.log") as address:
        until_it_answers(address)
        while process.poll() is None:
            seen.append(len(trials_shown(address).get("shared", [])))
            get(f"{address}/dashboard/studies/1")
            time.sleep(0.05)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert seen, "it ended before the dashboard had begun"
        trials = trials_shown(address)["shared"]
    with dashboard(f"sqlite:///file:{run}/study.db?mode=ro&uri=true", tmp_path / "ro.log") as again:
        until_it_answers(again)
        assert trials_shown(again)["shared"] == trials
    assert [trial["state"] for trial in trials] == ["Complete"] * 6
    told = out + err + (tmp_path / "dashboard.log").read_text() + (tmp_path / "ro.log").read_text()
    assert "locked" not in told
    assert "\x1b" not in out + err

    rows = read_csv(run / "trials.csv")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 6
    curves = read_csv(run / "curves.csv")
    for row in rows:
        logged = read_csv(run / f"trials/shared-{row['number']}/tl_hpo_logs/metrics.csv")
        own = [each for each in curves if each["number"] == row["number"]]
        assert [each["val_accuracy"] for each in logged] == [each["val_accuracy"] for each in own]
        assert [each["step"] for each in logged] == [str(n + 1) for n in range(len(own))]
    overrides = json.loads((run / "best.json").read_text())["overrides"]
    assert not [text for text in overrides if "logger" in text or "progress" in text]
    assert "logger" not in (run / "config.yaml").read_text()
    assert "logger" not in (run / "best_model/config.yaml").read_text()


def test_a_trackers_password_stays_out_of_what_hydra_keeps(command, tiny, unused_url, tmp_path):
    address = unused_url("").replace("://", "://me:secret-word@").rstrip("/")
    settings = [text for text in tiny if "search" not in text]
    outcome = command("train", *settings, "model=timm", "model.name=test_resnet", "logger=mlflow",
                      f"logger.tracking_uri='{address}'")  # fmt: skip
    assert outcome.code == 2
    assert "logger.tracking_uri must be a store that MLflow reaches" in outcome.err
    assert list(tmp_path.rglob(".hydra/config.yaml"))
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in kept if b"secret-word" in text]
    assert "secret-word" not in outcome.out + outcome.err
