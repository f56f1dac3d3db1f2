"""An experiment of a minute that is broken in every way, and what must hold of it afterwards."""

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from sklearn.metrics import accuracy_score

from tl_hpo.data.images import decode
from tl_hpo.files import read_csv
from tl_hpo.training.saved import load_model

PATIENCE_SECONDS = 300
SIZE = (32, 32)
TRAINED = ("COMPLETE", "PRUNED")
WORKER = b"tl_hpo.search.executors.worker"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """The run folder of the experiment."""
    return tmp_path / "runs" / "folder" / "shared"


@pytest.fixture
def experiment(image_folder, tiny) -> Callable[..., list[str]]:
    """Return the arguments of an experiment of 3 and 2 trials, or of others."""
    root = image_folder(per_class=20)

    def make(trials: int = 3, layer_trials: int = 2, *more: str) -> list[str]:
        return [
            *("dataset=folder", f"dataset.root={root}", *tiny),
            *("pruner=none", "precision=32", "audit=false"),
            *(f"search.n_trials={trials}", f"search.layer_trials={layer_trials}", *more),
        ]

    return make


@pytest.fixture
def ends_well(start) -> Callable[[list[str]], str]:
    """Run a command, which must succeed, in a process of its own; return what it said."""

    def run(arguments: list[str]) -> str:
        process = start("optimize.py", *arguments)
        out, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, errors
        return out + errors

    return run


@pytest.fixture
def is_whole(tmp_path: Path) -> Callable[..., None]:
    """Check that an experiment has ended as if nothing had happened."""

    def check(run: Path, trials: int = 3, layer_trials: int = 2) -> None:
        asked = Counter({"shared": trials, "layers": layer_trials})
        rows = read_csv(run / "trials.csv")
        assert {row["state"] for row in rows} <= set(TRAINED)
        assert Counter(row["step"] for row in rows) == asked
        assert len({(row["step"], row["number"]) for row in rows}) == len(rows)
        _check_storage(run / "study.db", rows)
        _check_curves(read_csv(run / "curves.csv"), rows)
        _check_best(run, rows, tmp_path / "images")
        assert not list(run.rglob("*.tmp"))
        assert not list((run / "trials").glob("*/model"))
        assert no_process_left(tmp_path)

    return check


def _check_storage(path: Path, rows: list[dict[str, str]]) -> None:
    """Optuna, which knows nothing of this project, must find the trials of trials.csv."""
    url = f"sqlite:///{path}"
    studies = [s for s in optuna.get_all_study_summaries(url) if s.study_name != "repeats"]
    stored = {
        (study.study_name, str(trial.number)): trial
        for study in studies
        for trial in optuna.load_study(study_name=study.study_name, storage=url).trials
    }
    assert stored.keys() == {(row["step"], row["number"]) for row in rows}
    for row in rows:
        trial = stored[row["step"], row["number"]]
        assert trial.state.name == row["state"]
        assert trial.value == pytest.approx(float(row["val_accuracy"]))


def _check_curves(curves: list[dict[str, str]], rows: list[dict[str, str]]) -> None:
    epochs = [(row["step"], row["number"], row["phase"], row["epoch"]) for row in curves]
    assert len(set(epochs)) == len(epochs)
    counted = Counter((step, number) for step, number, _, _ in epochs)
    assert counted == {(row["step"], row["number"]): int(row["epochs"]) for row in rows}


def _check_best(run: Path, rows: list[dict[str, str]], root: Path) -> None:
    """The best model must do on the images what best.json says, computed from the files alone."""
    best = json.loads((run / "best.json").read_text())
    assert best["val_accuracy"] == max(float(row["val_accuracy"]) for row in rows)
    (row,) = (r for r in rows if (r["step"], r["number"]) == (best["step"], str(best["number"])))
    assert float(row["val_accuracy"]) == best["val_accuracy"]
    metrics = json.loads((run / "best_model" / "metrics.json").read_text())
    assert metrics["validation"] == best["validation"]
    model, labels = load_model(run / "best_model")
    listed = [r for r in read_csv(run / "split.csv") if r["side"] == "validation"]
    images = np.stack([decode(root / r["path"], SIZE) for r in listed])
    with torch.no_grad():
        classes = model(torch.from_numpy(images).permute(0, 3, 1, 2)).argmax(dim=1)
    predicted = [labels[index] for index in classes]
    accuracy = accuracy_score([r["label"] for r in listed], predicted)
    assert accuracy == pytest.approx(best["val_accuracy"])


def no_process_left(folder: Path, seconds: float = 20.0) -> bool:
    """Tell whether soon no process works in ``folder`` any more."""
    for _ in range(int(seconds / 0.1)):
        if not processes_in(folder):
            return True
        time.sleep(0.1)
    return False


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is ``folder``, this one left out."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if Path(os.readlink(each / "cwd")) == folder and int(each.name) != os.getpid():
                found.append(int(each.name))
    return found


@pytest.fixture
def workers_in(tmp_path: Path) -> Callable[[], list[int]]:
    """Return the worker processes of the experiment."""

    def find() -> list[int]:
        found = []
        for pid in processes_in(tmp_path):
            with suppress(OSError):
                if WORKER in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    return find


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until something holds while a process runs."""

    def wait(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
        for _ in range(int(PATIENCE_SECONDS / 0.02)):
            if holds():
                return
            if process.poll() is not None:
                raise AssertionError(f"ended by itself: {process.communicate()}")
            time.sleep(0.02)
        raise AssertionError("never came about")

    return wait


@pytest.fixture
def completed(run_folder: Path) -> Callable[[], int]:
    """Return how many trials are complete."""

    def count() -> int:
        path = run_folder / "trials.csv"
        if not path.exists():
            return 0
        return sum(row["state"] == "COMPLETE" for row in read_csv(path))

    return count


@pytest.fixture
def meanwhile() -> Callable[..., AbstractContextManager[None]]:
    """Do something once within a block, as soon as it is time."""
    return _meanwhile


@contextmanager
def _meanwhile(ready: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if ready():
                act()
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
