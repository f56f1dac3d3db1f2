"""SIGKILL at the worst moments: the repeated command ends with as many trials as asked."""

import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from tl_hpo.files import read_csv
from tl_hpo.training.saved import load_model

N_TRIALS, LAYER_TRIALS = 3, 2
PATIENCE_SECONDS = 180


def stop_when(process, path, reached: Callable[[list[dict[str, str]]], bool], how):
    """Send the signal ``how`` as soon as ``reached`` holds of the rows of trials.csv."""
    polls = int(PATIENCE_SECONDS / 0.01)
    for _ in range(polls):
        if path.exists() and reached(read_csv(path)):
            break
        try:
            process.wait(timeout=0.01)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"ended by itself: {process.communicate()}")
    process.send_signal(how)
    return process.communicate()


def in_the_middle_of_the_second_trial(rows):
    return len(rows) == 2 and rows[1]["state"] == "RUNNING"


def between_the_steps(rows):
    return len(rows) == N_TRIALS and all(row["state"] != "RUNNING" for row in rows)


def in_the_last_step(rows):
    return rows[-1]["step"] == "layers" and rows[-1]["state"] == "RUNNING"


@pytest.mark.slow
def test_killed_thrice_and_repeated(start, tiny, image_folder, tmp_path):
    arguments = [
        *("dataset=folder", f"dataset.root={image_folder(per_class=20)}", *tiny, "pruner=none"),
        *(f"search.n_trials={N_TRIALS}", f"search.layer_trials={LAYER_TRIALS}"),
    ]
    run = tmp_path / "runs" / "folder" / "shared"
    finished: dict[tuple[str, str], dict[str, str]] = {}
    for moment in (in_the_middle_of_the_second_trial, between_the_steps, in_the_last_step):
        process = start("optimize.py", *arguments)
        stop_when(process, run / "trials.csv", moment, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        for row in read_csv(run / "trials.csv"):
            if row["state"] == "COMPLETE":
                kept = finished.setdefault((row["step"], row["number"]), row)
                assert kept == row  # never run again
    last = start("optimize.py", *arguments)
    _, errors = last.communicate(timeout=PATIENCE_SECONDS)
    assert last.returncode == 0, errors

    rows = read_csv(run / "trials.csv")
    assert [row["step"] for row in rows] == ["shared"] * N_TRIALS + ["layers"] * LAYER_TRIALS
    assert all(row["state"] == "COMPLETE" for row in rows)
    assert all(row in rows for row in finished.values())
    curves = {
        (row["step"], row["number"], row["phase"], row["epoch"])
        for row in read_csv(run / "curves.csv")
    }
    assert len(curves) == len(read_csv(run / "curves.csv")) == 2 * len(rows)

    best = json.loads((run / "best.json").read_text())
    assert best["val_accuracy"] == max(float(row["val_accuracy"]) for row in rows)
    metrics = json.loads((run / "best_model" / "metrics.json").read_text())
    assert metrics["validation"] == best["validation"]
    model, labels = load_model(run / "best_model")
    assert model.head.out_features == len(labels) == 2
    assert not list(run.rglob("*.tmp"))


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_loses_nothing(start, tiny, image_folder, tmp_path):
    arguments = [
        *("dataset=folder", f"dataset.root={image_folder(per_class=20)}", *tiny, "pruner=none"),
        # It would not end by itself, however late the signal comes on a busy machine.
        *("head.epochs=100000", "head.patience=null", "search.n_trials=2"),
    ]
    trials = tmp_path / "runs" / "folder" / "shared" / "trials.csv"
    process = start("optimize.py", *arguments)
    _, errors = stop_when(process, trials, lambda rows: bool(rows), signal.SIGINT)
    assert process.returncode == 130
    assert errors.strip() == "interrupted: repeat the command to go on from here"
    assert [row["state"] for row in read_csv(trials)] == ["RUNNING"]
