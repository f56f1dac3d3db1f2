import json
from dataclasses import replace

import pytest
import torch
from malicious import save_code

from tl_hpo.errors import UserError
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.heads import HeadStore
from tl_hpo.training.phases import PhaseOutcome
from tl_hpo.training.result import EpochRecord, PhaseSummary
from tl_hpo.training.trial import run_trial
from tl_hpo.training.worker import Worker


@pytest.fixture
def outcome():
    records = tuple(
        EpochRecord("head", epoch, epoch, epoch, 1.0 / epoch, 2.0, 0.5, 0.5, 0.4)
        for epoch in (1, 2)
    )
    confidence = torch.tensor([0.6, 0.7])
    scores = torch.tensor([[0.6, 0.4], [0.3, 0.7]]).log()
    predictions = Predictions(torch.tensor([0, 1]), torch.tensor([1, 1]), confidence, scores)
    return PhaseOutcome(PhaseSummary(2, 1.5), records, predictions, reason="")


@pytest.fixture
def run(trial_config):
    """Run trials in one worker; return result and epochs of each."""
    worker = None

    def trial(*overrides, stop=lambda record: False):
        nonlocal worker
        config = trial_config(*overrides)
        worker = worker or Worker(config)
        records = []

        def report(record):
            records.append(record)
            return stop(record)

        return run_trial(config, report=report, worker=worker), records

    return trial


def test_what_is_kept_comes_back(tmp_path, outcome):
    store, head, other = HeadStore(tmp_path), torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    store.save("a", head, outcome)
    kept = store.load("a", other)
    assert torch.equal(other.weight, head.weight)
    assert torch.equal(other.bias, head.bias)
    assert kept.records == outcome.records
    assert kept.predictions.confidence.tolist() == outcome.predictions.confidence.tolist()
    assert torch.equal(kept.predictions.scores, outcome.predictions.scores)
    assert kept.summary == PhaseSummary(2, 0.0, reused=True)
    assert store.load("b", other) is None


def test_a_block_kept_before_epochs_had_a_step_still_comes_back(tmp_path, outcome):
    store, head = HeadStore(tmp_path), torch.nn.Linear(3, 2)
    store.save("a", head, outcome)
    path = tmp_path / "a" / "phase.json"
    record = json.loads(path.read_text())
    for epoch in record["records"]:
        del epoch["step"]
    path.write_text(json.dumps(record))
    assert store.load("a", head).records == outcome.records


def test_a_block_kept_without_the_probabilities_of_all_classes_is_trained_again(tmp_path, outcome):
    store, head = HeadStore(tmp_path), torch.nn.Linear(3, 2)
    store.save("a", head, replace(outcome, predictions=replace(outcome.predictions, scores=None)))
    before = head.weight.clone()
    assert store.load("a", head) is None
    assert torch.equal(head.weight, before)
    store.save("a", head, outcome)
    assert store.load("a", head) is not None


def test_a_block_that_is_really_code_is_not_executed(tmp_path, outcome, run):
    store, head = HeadStore(tmp_path), torch.nn.Linear(3, 2)
    store.save("a", head, outcome)
    save_code(tmp_path / "a" / "head.safetensors", tmp_path / "executed")
    assert store.load("a", head) is None
    for name in ("evil.safetensors", "evil.pth"):
        save_code(tmp_path / name, tmp_path / "executed")
        with pytest.raises(UserError, match=r"head\.weights must be a safetensors file"):
            run(f"head.weights={tmp_path / name}")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["head.safetensors", "phase.json"])
def test_a_damaged_block_is_told_and_removed(tmp_path, outcome, caplog, name):
    store, head = HeadStore(tmp_path), torch.nn.Linear(3, 2)
    store.save("a", head, outcome)
    before = head.weight.clone()
    (tmp_path / "a" / name).write_bytes(b"{")
    assert store.load("a", head) is None
    assert torch.equal(head.weight, before)
    assert "damaged" in caplog.text
    assert not (tmp_path / "a").exists()


def test_a_disk_that_is_full_keeps_nothing_and_says_so(tmp_path, outcome, caplog):
    (tmp_path / "file").write_text("no folder")
    HeadStore(tmp_path / "file").save("a", torch.nn.Linear(3, 2), outcome)
    assert "cannot be kept" in caplog.text


def test_trials_that_differ_in_the_delimiting_layer_train_the_block_once(run):
    (first, one), (second, two) = run("delimiting_layer=0.3"), run("delimiting_layer=0.9")
    assert not first.phases["head"].reused
    assert second.phases["head"].reused
    assert one[:2] == two[:2]
    assert one[2:] != two[2:]


def test_a_loaded_block_gives_the_trial_that_training_it_gives(run, trial):
    run("delimiting_layer=0.3")
    loaded, records = run("delimiting_layer=0.9")
    trained, expected = trial("delimiting_layer=0.9", "reuse=false")
    assert loaded.phases["head"].reused
    assert [r.val_accuracy for r in records] == [r.val_accuracy for r in expected]
    assert loaded.epochs == trained.epochs
    assert loaded.trainable_parameters == trained.trainable_parameters


@pytest.mark.parametrize(
    "changed",
    ["head.optimizer.lr=0.02", "optimizer=sgd", "seed=1", "head.epochs=3", "batch_size=9",
     "split.validation=0.4", "head.scheduler=cosine", "objective=val_f1"],
)  # fmt: skip
def test_any_other_setting_of_the_head_phase_trains_another_block(run, changed):
    run()
    assert not run(changed)[0].phases["head"].reused


@pytest.mark.parametrize("same", ["finetune.optimizer.lr=0.5", "finetune.epochs=1"])
def test_settings_of_fine_tuning_alone_reuse_the_block(run, same):
    run()
    assert run(same)[0].phases["head"].reused


def test_a_kept_block_can_still_be_cancelled_at_any_epoch(run, trial):
    run()
    cancelled, records = run(stop=lambda record: record.number == 1)
    expected, _ = trial("reuse=false", stop=lambda record: record.number == 1)
    assert (cancelled.state, cancelled.reason, cancelled.epochs) == ("PRUNED", "early cancel", 1)
    assert cancelled.val_accuracy == expected.val_accuracy
    assert len(records) == 1


def test_a_cancelled_block_is_not_kept(run):
    run(stop=lambda record: record.number == 2)
    result, _ = run()
    assert not result.phases["head"].reused
    assert result.phases["head"].epochs == 2
