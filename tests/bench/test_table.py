"""A recorded trial is the trial that optimize.py would run, its test side noted beside it."""

import pandas as pd
import pytest

from bench import table
from bench.common import Model
from bench.recorder import Job, Recorder
from bench.replay_table import BEST, HEAD, OWN
from tl_hpo.config import compose_trial
from tl_hpo.training.trial import run_trial

MODEL = ("model=timm", "model.name=test_resnet", "model.weights=random")


@pytest.fixture
def shared(images):
    return [
        "dataset=folder",
        f"dataset.root={images}",
        "split=holdout",
        "split.groups=none",
        "image_size=32",
        "batch_size=8",
        "head.epochs=4",
        "finetune.epochs=3",
        "precision=32",
        "trainer.accelerator=cpu",
        "trainer.progress=false",
    ]


def ordinary(shared, tmp_path, job, *more):
    """Run the trial with run_trial as it is, measured on the test side at its end."""
    chosen = [f"optimizer={job.optimizer}", f"optimizer.lr={job.lr!r}", *more]
    store = f"store.dir={tmp_path / 'other'}"
    reports = []
    result = run_trial(
        compose_trial([*shared, store, *job.model, *chosen]),
        report=lambda record: reports.append(record) or False,
        test=True,
    )
    return result, reports


@pytest.mark.parametrize("depth", [None, 0.5])
def test_recorded_epochs_are_those_of_an_ordinary_trial(shared, tmp_path, depth):
    job = Job(MODEL, "net", "adam", 0.01)
    recorder = Recorder(shared, tmp_path / "recorded")
    if depth is None:
        rows, phase, more = recorder.run(job), HEAD, ["finetune.epochs=0"]
    else:
        tuned = Job(MODEL, "net", "adam", 0.01, OWN, (depth,))
        rows, phase, more = recorder.run(tuned), "finetune", [f"delimiting_layer={depth}"]
    result, reports = ordinary(shared, tmp_path, job, *more)
    own = [each for each in reports if each.phase == phase]
    assert [row["validation"] for row in rows] == [each.val_accuracy for each in own]
    best = max(rows, key=lambda row: row["validation"])
    assert best["validation"] == result.val_accuracy
    assert best["test"] == pytest.approx(result.test["accuracy"])
    assert all(row["seconds"] > 0 for row in rows)


def test_fine_tuning_may_start_from_another_block(shared, tmp_path):
    recorder = Recorder(shared, tmp_path)
    good = Job(MODEL, "net", "adam", 0.01)
    recorder.run(good)
    poor = Job(MODEL, "net", "sgd", 1e-4, BEST, (0.5,), recorder.head_file(good))
    rows = recorder.run(poor)
    assert {row["start"] for row in rows} == {BEST}
    own = recorder.run(Job(MODEL, "net", "sgd", 1e-4, OWN, (0.5,)))
    assert rows[0]["validation"] != own[0]["validation"]


def test_a_table_is_recorded_merged_and_not_recorded_again(shared, images, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "shared", lambda options: shared)
    monkeypatch.setattr(table, "OPTIMIZERS", ("sgd", "adam"))
    monkeypatch.setattr(table, "RATES", (1e-4, 1e-2))
    options = type("Options", (), {})()
    options.models, options.workers = [Model("test_resnet", "random")], 1
    options.depths = [1.0, 0.5]
    options.root, options.folder, options.out = images, tmp_path / "f", tmp_path / "t.parquet"
    table.record(options)
    table.merge(options)
    rows = pd.read_parquet(options.out)
    own = rows[rows["start"] == OWN].groupby(["optimizer", "lr", "depth", "phase"]).ngroups
    assert own == 4 + 4 * 2
    before = options.out.read_bytes()
    table.record(options)
    table.merge(options)
    assert options.out.read_bytes() == before
