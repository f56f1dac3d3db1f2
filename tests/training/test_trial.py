import json
import math

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from tl_hpo.data.split import make_split
from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.models.backbone import feature_count
from tl_hpo.training.saved import load_model
from tl_hpo.training.trial import run_trial


def test_a_trial_runs_both_phases_and_writes_the_contracts_keys(trial, tmp_path):
    result, records = trial()
    assert [(r.phase, r.epoch, r.number) for r in records] == [
        ("head", 1, 1),
        ("head", 2, 2),
        ("finetune", 1, 3),
        ("finetune", 2, 4),
    ]
    written = json.loads((tmp_path / "trial" / "result.json").read_text())
    assert {
        "state",
        "val_accuracy",
        "validation",
        "test",
        "phases",
        "n_layers",
        "delimiting_layer",
        "trainable_parameters",
        "seconds",
    } <= written.keys()
    assert set(written["validation"]) == {
        "accuracy",
        "f1",
        "mcc",
        "precision",
        "recall",
        "specificity",
    }
    assert written["val_accuracy"] == result.val_accuracy == written["validation"]["accuracy"]
    assert written["test"] is None
    assert written["delimiting_layer"] == round(2 / 3 * written["n_layers"])


def test_it_learns_what_a_linear_probe_on_colours_learns(trial):
    result, _ = trial("head.epochs=6", "finetune.epochs=6")
    assert result.val_accuracy > 0.9


def test_its_figures_are_those_of_scikit_learn_on_its_predictions(trial, tmp_path):
    result, _ = trial()
    rows = read_csv(tmp_path / "trial" / "model" / "predictions.csv")
    true, predicted = [r["label"] for r in rows], [r["predicted"] for r in rows]
    assert result.val_accuracy == pytest.approx(accuracy_score(true, predicted))
    assert result.validation["f1"] == pytest.approx(f1_score(true, predicted, average="macro"))
    assert result.validation["mcc"] == pytest.approx(matthews_corrcoef(true, predicted))


def test_the_saved_model_says_what_the_predictions_say(trial, prepared, tmp_path):
    trial()
    model, labels = load_model(tmp_path / "trial" / "model")
    data = prepared().data
    images = data.images[torch.from_numpy(data.split.validation)]
    with torch.no_grad():
        confidence, predicted = model(images).softmax(dim=1).max(dim=1)
    rows = read_csv(tmp_path / "trial" / "model" / "predictions.csv")
    assert [labels[i] for i in predicted] == [row["predicted"] for row in rows]
    assert confidence.tolist() == pytest.approx([float(r["confidence"]) for r in rows], abs=1e-4)


def test_each_phase_ends_with_its_best_epoch(trial):
    result, records = trial("finetune.epochs=6", "finetune.optimizer.lr=0.3", "finetune.patience=6")
    finetuned = [r.objective for r in records if r.phase == "finetune"]
    assert result.objective == max(finetuned)


def test_the_same_seed_gives_the_same_trial_and_another_seed_another(trial):
    (one, first), (_, second), (_, other) = trial(), trial(), trial("seed=1")
    assert first == second
    assert first != other
    assert one.state == "COMPLETE"


def test_random_weights_do_not_depend_on_the_other_hyperparameters(prepared):
    backbones = [
        prepared(*overrides).model.backbone.conv1[0].weight
        for overrides in (["optimizer=sgd"], ["optimizer=nadam", "batch_size=5"])
    ]
    assert torch.equal(*backbones)


def test_early_stopping_waits_for_its_patience(trial):
    _, records = trial("head.epochs=9", "head.patience=2", "finetune.epochs=0")
    best = max(range(len(records)), key=lambda i: (records[i].objective, -i))
    assert len(records) == min(9, best + 3)


def test_fine_tuning_counts_its_steps_from_the_head_epochs_that_were_planned(trial):
    _, records = trial("head.epochs=9", "head.patience=1", "finetune.epochs=2")
    head = [r for r in records if r.phase == "head"]
    finetune = [r for r in records if r.phase == "finetune"]
    assert len(head) < 9
    assert [r.step for r in head] == [r.number for r in head] == [*range(1, len(head) + 1)]
    assert [r.number for r in finetune] == [len(head) + 1, len(head) + 2]
    assert [r.step for r in finetune] == [10, 11]


def test_a_cancelled_trial_is_pruned_and_keeps_its_accuracy(trial):
    result, records = trial(stop=lambda record: record.number == 3)
    assert (result.state, result.reason, result.epochs) == ("PRUNED", "early cancel", 3)
    assert result.phases["finetune"].epochs == 1
    assert result.val_accuracy == records[-1].val_accuracy


def test_a_phase_that_diverges_keeps_its_best_epoch(trial):
    result, records = trial("optimizer=sgd", "head.optimizer.lr=0.01", "finetune.optimizer.lr=1e30")
    assert result.reason == "diverged"
    assert result.state == "COMPLETE"
    assert not math.isfinite(records[-1].val_loss + records[-1].train_loss)
    head = max(r.objective for r in records if r.phase == "head")
    assert result.val_accuracy == head  # no epoch of the fine-tuning was finite
    assert result.phases["finetune"].epochs == 1


def test_a_trial_that_diverges_at_once_still_has_a_model(trial, tmp_path):
    result, _ = trial("optimizer=sgd", "optimizer.lr=3e38")
    assert (result.state, result.reason) == ("COMPLETE", "diverged")
    assert result.phases["finetune"].epochs == 0
    model, _ = load_model(tmp_path / "trial" / "model")
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_trained_block_can_be_started_from(trial, tmp_path):
    head_only, _ = trial("finetune.epochs=0", "head.epochs=4")
    block = tmp_path / "trial" / "head.safetensors"
    block.rename(tmp_path / "block.safetensors")
    start = ["head.epochs=0", f"head.weights={tmp_path / 'block.safetensors'}"]
    judged, records = trial(*start, "finetune.epochs=0")
    assert judged.val_accuracy == head_only.val_accuracy
    assert not records
    _, records = trial(*start)
    assert {r.phase for r in records} == {"finetune"}


def test_the_delimiting_layer_n_trains_the_block_alone(trial):
    result, _ = trial("delimiting_layer=1.0")
    features = feature_count("test_resnet", (32, 32))
    assert result.trainable_parameters == 3 * features + 3


def test_a_cosine_schedule_changes_the_training(trial):
    _, constant = trial()
    _, cosine = trial("head.scheduler=cosine")
    assert constant[0] == cosine[0]
    assert constant[1] != cosine[1]


@pytest.mark.parametrize("objective", ["val_f1", "val_mcc", "val_balanced_accuracy"])
def test_the_objective_can_be_another_metric(trial, objective):
    result, _ = trial(f"objective={objective}")
    key = objective.removeprefix("val_")
    if key in result.validation:
        assert result.objective == result.validation[key]
    assert -1 <= result.objective <= 1


def test_the_validation_side_is_what_the_split_says(trial, prepared, tmp_path):
    trial("split.groups=none")
    table, split = prepared().data.table, prepared("split.groups=none").config.split
    expected = {table.relative(int(i)) for i in make_split(table, split).split.validation}
    rows = read_csv(tmp_path / "trial" / "model" / "predictions.csv")
    assert {row["path"] for row in rows} == expected


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optimizer.lr=0", "head.optimizer.lr must be a positive number, got 0"),
        ("optimizer.lr=-0.1", "must be a positive number, got -0.1"),
        ("finetune.optimizer.lr=.nan", "finetune.optimizer.lr must be a positive number"),
        ("optimizer.lr=inf", "must be a positive number, got inf"),
        ("head.epochs=-1", "head.epochs must be an integer of at least 0"),
        ("head.patience=0", "head.patience must be an integer of at least 1"),
        ("head.scheduler=step", "head.scheduler must be a known name, got 'step'"),
        ("objective=accuracy", "objective must be a known name, got 'accuracy'"),
        ("precision=16", "precision must be auto, 32 or bf16"),
        ("image_size=0", "image_size must be a positive integer"),
        ("delimiting_layer=-1", r"delimiting_layer must be an integer in 0\.\."),
        ("delimiting_layer=1.5", r"delimiting_layer must be an integer in 0\.\."),
        ("model.name=test_resnt", "Did you mean test_resnet"),
        ("model.n_layers=3", "model.n_layers must be what the trace"),
        ("+optimizer.momentum=0.9", "head.optimizer must be settings"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_read(
    trial_config, override, told
):
    key, _, value = override.partition("=")
    overrides = [override]
    if override.startswith("+optimizer"):
        overrides = [f"+head.optimizer.{key.rpartition('.')[2]}={value}"]
    with pytest.raises(UserError, match=told):
        run_trial(trial_config(*overrides, "dataset.root=absent"))


def test_nothing_to_train_is_refused(trial_config):
    with pytest.raises(UserError, match="must not both be 0"):
        run_trial(trial_config("head.epochs=0", "finetune.epochs=0"))


@pytest.mark.gpu
def test_a_trial_runs_on_a_gpu_unchanged(trial):
    on_cpu, _ = trial("precision=32")
    on_gpu, _ = trial("trainer.accelerator=gpu", "precision=32")
    assert on_gpu.val_accuracy == pytest.approx(on_cpu.val_accuracy, abs=0.1)
    in_bf16, _ = trial("trainer.accelerator=gpu", "precision=auto")
    assert in_bf16.val_accuracy == pytest.approx(on_cpu.val_accuracy, abs=0.1)
