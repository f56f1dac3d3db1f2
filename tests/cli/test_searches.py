"""Searches beyond the paper's, as a user types them, on real components."""

import json
import shutil
from pathlib import Path

import pytest

from tl_hpo.files import read_csv


def folder(root):
    return ["dataset=folder", f"dataset.root={root}"]


@pytest.mark.slow
def test_one_experiment_learns_from_another_and_repeats_its_best(command, image_folder, tiny):
    data = folder(image_folder())
    first = command("optimize", *data, *tiny, "search.n_trials=2", "search.layer_trials=1")
    assert first.code == 0, first.err
    outcome = command(
        "optimize", *data, *tiny, "strategy=joint", "search.n_trials=4", "pruner=median",
        "search.warm_start=[runs/folder/shared]", "search.warm_trials=1",
        "search.repeats=2", "search.repeat_best=2",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    run, earlier = Path("runs/folder/joint"), Path("runs/folder/shared")
    rows = read_csv(run / "trials.csv")
    assert [row["step"] for row in rows] == ["joint"] * 4 + ["repeats"] * 4

    best = max(read_csv(earlier / "trials.csv"), key=lambda row: float(row["val_accuracy"]))
    same = ("model", "head_optimizer", "head_lr", "delimiting_layer")
    assert {key: rows[0][key] for key in same} == {key: best[key] for key in same}

    repeats = read_csv(run / "repeats.csv")
    assert [row["seed"] for row in repeats] == ["1", "2"] * 2
    chosen = next(row for row in repeats if row["chosen"] == "true")
    mean = f"{float(chosen['mean']):.4f} ± {float(chosen['sd']):.4f}"
    assert f"(mean {mean} over 2 seeds)" in outcome.out
    told = json.loads((run / "best.json").read_text())
    assert told["step"] == "repeats"
    assert told["test"]["accuracy"] >= 0
    assert "split.seed=0" in told["overrides"]
    assert list(run.glob("trials/*/model")) == []
    for name in ("best_so_far.csv", "importance.csv", "figures/best_so_far.png"):
        assert (run / name).stat().st_size > 0
    summary = (run / "summary.md").read_text()
    assert "Repeats" in summary
    assert "| joint 0 | runs/folder/shared " in summary
    assert "test images were on the training" not in outcome.out + outcome.err  # the same split
    shutil.rmtree(earlier)
    again = command(
        "optimize", *data, *tiny, "strategy=joint", "search.n_trials=4", "pruner=median",
        "search.warm_start=[runs/folder/shared]", "search.warm_trials=1",
        "search.repeats=2", "search.repeat_best=2", "search.max_hours=1",
    )  # fmt: skip
    assert again.code == 0, again.err  # another time limit is no other experiment, nor is this
    assert len(read_csv(run / "trials.csv")) == 8


@pytest.mark.slow
def test_one_search_per_model(command, image_folder, tiny):
    outcome = command(
        "optimize", *folder(image_folder()), *tiny, "strategy=per_model", "search.n_trials=5",
        "pruner=hyperband",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = read_csv(Path("runs/folder/per_model/trials.csv"))
    counts = [[row["model"] for row in rows].count(m) for m in ("test_resnet", "test_efficientnet")]
    assert sorted(counts) == [1, 4]
    assert {row["step"] for row in rows} == {"per_model-test_resnet", "per_model-test_efficientnet"}
