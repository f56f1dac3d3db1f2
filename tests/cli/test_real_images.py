"""Whole experiments on the 749 real images, small; skipped where these are not present."""

import json
from pathlib import Path

import pytest

from tl_hpo.files import read_csv

pytestmark = [pytest.mark.slow, pytest.mark.shared]

FEW_TRIALS = ("search.n_trials=1", "search.layer_trials=1", "head.epochs=1", "finetune.epochs=1")


def images(shared_root):
    return ["dataset=folder", f"dataset.root={shared_root}/data/hyperkvasir_lower_gi/images"]


def test_imagenet_weights_from_a_file_beat_the_largest_class_by_far(command, shared_root):
    outcome = command(
        "optimize",
        "strategy=shared",
        *images(shared_root),
        "model=timm",
        "model.name=mobilenetv2_100",
        f"model.weights={shared_root}/weights/mobilenetv2_100.imagenet.safetensors",
        *("image_size=128", "sampler=random", "search.optimizers=[adam]", "search.lr.high=0.01"),
        "search.lr.low=0.001",
        *FEW_TRIALS,
    )
    assert outcome.code == 0, outcome.err
    run = Path("runs/folder/shared")
    assert len(read_csv(run / "split.csv")) == 749
    largest_class = 185 / 749
    assert json.loads((run / "best.json").read_text())["val_accuracy"] > 2 * largest_class
    assert [row["n_layers"] for row in read_csv(run / "trials.csv")] == ["114", "114"]


def test_all_strategies_run_through_with_models_of_the_paper(command, shared_root):
    outcome = command(
        "optimize",
        "-m",
        "strategy=shared,separate,separate_steps",
        *images(shared_root),
        *("search.models=[resnet50,densenet121]", "model.weights=random", "image_size=32"),
        "batch_size=64",
        *FEW_TRIALS,
    )
    assert outcome.code == 0, outcome.err
    for strategy, steps in (
        ("shared", ["shared", "layers"]),
        ("separate", ["separate", "layers"]),
        ("separate_steps", ["head", "finetune", "layers"]),
    ):
        rows = read_csv(Path("runs/folder") / strategy / "trials.csv")
        assert [row["step"] for row in rows] == steps
        assert {row["state"] for row in rows} == {"COMPLETE"}
