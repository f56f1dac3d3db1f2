"""Axes of the user's own in a strategy, from the search to the report."""

import csv
from pathlib import Path

import pytest

from tl_hpo.files import read_csv
from tl_hpo.search.records import TRIAL_COLUMNS

STRATEGY = """\
name: mine
steps:
- name: first
  trials: 4
  space:
    optimizer.lr: {{low: 0.001, high: 0.1, log: true}}
    {axes}
- name: layers
  inherits: first
  trials: 1
  space:
    delimiting_layer: {{low: 0, high: n_layers, integer: true}}
"""


@pytest.fixture
def search(command, image_folder, tiny, tmp_path):
    """Run a strategy whose first step searches these axes as well."""
    root = image_folder()

    def run(*axes, more=("model=timm", "model.name=test_resnet")):
        (tmp_path / "mine" / "strategy").mkdir(parents=True, exist_ok=True)
        text = STRATEGY.format(axes="\n    ".join(axes))
        (tmp_path / "mine" / "strategy" / "mine.yaml").write_text(text)
        return command(
            "optimize", "--config-dir", "mine", "dataset=folder", f"dataset.root={root}",
            *tiny, "strategy=mine", "sampler=random", "pruner=none", *more,
        )  # fmt: skip

    return run


@pytest.mark.usefixtures("drawn")
def test_they_are_told_from_the_search_to_the_report(search):
    outcome = search(
        "accumulate: {choices: [1, 2]}",
        "momentum: {low: 0.0, high: 0.9, sets: [finetune.optimizer.momentum]}",
        "optimizer@finetune.optimizer: {choices: [sgd]}",
        "imbalance: {choices: [none, class_weights]}",
    )
    assert outcome.code == 0, outcome.err
    run = Path("runs/folder/mine")
    with (run / "trials.csv").open() as file:
        header = next(csv.reader(file))
    further = ["accumulate", "finetune.optimizer.momentum", "imbalance"]
    assert header == [*TRIAL_COLUMNS, *further]
    rows = read_csv(run / "trials.csv")
    assert {row["accumulate"] for row in rows} <= {"1", "2"}
    assert all(0 <= float(row["finetune.optimizer.momentum"]) <= 0.9 for row in rows)
    best = max(rows[:4], key=lambda row: float(row["val_accuracy"]))
    assert [rows[4][key] for key in further] == [best[key] for key in further]  # inherited

    lines = [line for line in outcome.out.splitlines() if line.startswith("first trial")]
    assert len(lines) == 4
    assert all(f", imbalance {row['imbalance']} " in " ".join(lines) for row in rows)
    last = outcome.out[outcome.out.index("Best configuration") :]
    assert "  accumulate            " in last
    assert "; accumulate " in (run / "summary.md").read_text()
    assert "python train.py --config-dir mine dataset=folder " in (run / "summary.md").read_text()
    page = (run / "report.html").read_text()
    assert "python train.py --config-dir mine dataset=folder " in page
    assert all(f'<button type="button">{key}</button>' in page for key in further)


@pytest.mark.parametrize(
    ("axis", "told"),
    [
        ("optimizer.momentum: {low: 0.0, high: 0.9}", "got optimizer.momentum; give head"),
        ("trainer.deterministic: {choices: [true, false]}", "got trainer.deterministic; set it"),
        ("split: {choices: [holdout, kfold]}", "got split; set it for all"),
        ("a: {choices: [0, 1], sets: [split.seed]}", "got split.seed; set it for all of them"),
    ],
)  # fmt: skip
def test_what_would_not_make_trials_differ_is_refused(search, axis, told):
    outcome = search(axis)
    assert outcome.code == 2
    assert told in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    "layers",
    [
        "delimiting_layer: {low: 0, high: n_layers, integer: true}",
        "delimiting_layer: {range: {low: 0, high: n_layers}, integer: true}",
    ],
)
def test_a_number_of_layers_is_refused_where_models_differ(search, layers):
    models = "model: {choices: [test_resnet, test_efficientnet]}"
    outcome = search(models, layers, more=["delimiting_layer=0.5"])
    assert outcome.code == 0, outcome.err  # held fixed: there is no such axis
    outcome = search(models, layers, more=[])
    assert outcome.code == 2
    assert "must have numbers as bounds where step first searches the model" in outcome.err
