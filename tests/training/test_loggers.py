"""Every logger is really written, and read back with its own reader."""

import csv
import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tl_hpo.errors import UserError
from tl_hpo.training.loggers import LOGS_FOLDER, check_logger, logged, open_logger
from tl_hpo.training.result import EpochRecord

HYPERPARAMETERS = {
    "model": "vgg16",
    "head_optimizer": "sgd",
    "head_lr": 0.01,
    "finetune_optimizer": "adam",
    "finetune_lr": 0.001,
    "delimiting_layer": 7,
}
EPOCHS = (("head", 1, 0.5), ("head", 2, 0.7), ("finetune", 1, 0.9), ("finetune", 2, 0.6))
ACCURACIES = [0.5, 0.7, 0.9, 0.6]
BEST = [0.5, 0.7, 0.9, 0.9]
RECORDS = [
    EpochRecord(phase, epoch, number, number, 0.4, 0.3, value, value, 0.4, 0.01)
    for number, (phase, epoch, value) in enumerate(EPOCHS, 1)
]


def settings(kind, **others):
    return OmegaConf.create({"logger": {"kind": kind, **others}})


def log(config, folder, records=RECORDS, fails=None):
    """Log a trial in ``folder``; return what was reported."""
    reported = []
    with logged(config, HYPERPARAMETERS, folder, lambda r: bool(reported.append(r))) as report:
        for record in records:
            report(record)
        if fails:
            raise fails
    return reported


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "shared-first" / "trials" / "layers-3"


def test_none_logs_nothing(folder):
    assert log(settings("none"), folder) == RECORDS
    assert not folder.exists()


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_per_epoch_over_both_phases(folder):
    assert log(settings("csv"), folder) == RECORDS
    rows = rows_of(folder / LOGS_FOLDER / "metrics.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["val_accuracy"]) for row in rows] == ACCURACIES
    assert [float(row["best_val_accuracy"]) for row in rows] == BEST
    assert [row["phase"] for row in rows] == ["1", "1", "2", "2"]
    assert {row["learning_rate"] for row in rows} == {"0.01"}
    assert OmegaConf.load(folder / LOGS_FOLDER / "hparams.yaml") == HYPERPARAMETERS


def test_a_trial_that_is_run_again_logs_anew(folder):
    with pytest.raises(KeyboardInterrupt):
        log(settings("csv"), folder, fails=KeyboardInterrupt())
    log(settings("csv"), folder, RECORDS[:2])
    assert len(rows_of(folder / LOGS_FOLDER / "metrics.csv")) == 2


def test_a_kept_block_of_an_earlier_version_has_no_learning_rate(folder):
    log(settings("csv"), folder, [replace(RECORDS[0], learning_rate=None)])
    assert "learning_rate" not in rows_of(folder / LOGS_FOLDER / "metrics.csv")[0]


def test_tensorboard_finds_the_curves_and_the_hyperparameters(folder):
    log(settings("tensorboard"), folder)
    events = EventAccumulator(str(folder / LOGS_FOLDER)).Reload()
    curve = events.Scalars("val_accuracy")
    assert [event.step for event in curve] == [1, 2, 3, 4]
    assert [event.value for event in curve] == pytest.approx(ACCURACIES)
    tags = events.Tags()["scalars"]
    assert {"train_loss", "val_loss", "objective", "learning_rate", "phase"} <= set(tags)
    plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data
    assert b"delimiting_layer" in plugin.content


def runs_of(uri, name):
    client = MlflowClient(uri)
    return client, client.search_runs([client.get_experiment_by_name(name).experiment_id])


def test_mlflow_finds_one_run_per_trial_whatever_interrupted_it_before(folder, tmp_path):
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    config = settings("mlflow", tracking_uri=uri, experiment="phantom")
    open_logger(config.logger)
    with pytest.raises(KeyboardInterrupt):
        log(config, folder, RECORDS[:1], fails=KeyboardInterrupt())
    _, (failed,) = runs_of(uri, "phantom")
    assert failed.info.status == "FAILED"
    log(config, folder)
    client, (run,) = runs_of(uri, "phantom")
    assert (run.info.status, run.info.run_name) == ("FINISHED", "shared-first/layers-3")
    assert run.data.params == {key: str(value) for key, value in HYPERPARAMETERS.items()}
    curve = client.get_metric_history(run.info.run_id, "val_accuracy")
    assert [(point.step, point.value) for point in curve] == list(enumerate(ACCURACIES, 1))


def test_mlflow_of_another_place_does_not_know_the_run_before(folder, tmp_path, caplog):
    for name in ("one", "two"):
        uri = f"sqlite:///{tmp_path}/{name}.db"
        config = settings("mlflow", tracking_uri=uri, experiment="phantom")
        open_logger(config.logger)
        log(config, folder)
        _, (run,) = runs_of(uri, "phantom")
        assert run.info.status == "FINISHED"
    assert "failed" not in caplog.text


def test_wandb_writes_an_offline_run(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["optimize.py", "study.storage=secret-word"])
    log(settings("wandb", mode="offline", project="tl_hpo"), folder)
    log(settings("wandb", mode="offline", project="tl_hpo"), folder)  # run again: one run is left
    (run,) = (folder / LOGS_FOLDER / "wandb").glob("offline-run-*")
    told = b""
    for _ in range(300):  # a process of W&B's own writes it, on a busy machine later
        told = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
        if b"val_accuracy" in told:
            break
        time.sleep(0.1)
    assert list(run.glob("run-*.wandb"))
    assert b"shared-first/layers-3" in told
    assert b"val_accuracy" in told
    assert b"secret-word" not in told


def test_one_that_fails_is_told_of_once_and_the_trial_goes_on(folder, caplog, monkeypatch):
    class Broken:
        def __init__(self, *_, **__):
            pass

        def log_hyperparams(self, *_):
            pass

        def log_metrics(self, *_, **__):
            raise OSError("gone: https://me:secret-word@server/x")

        finalize = log_metrics

    monkeypatch.setitem(logged.__wrapped__.__globals__["_MAKERS"], "csv", Broken)
    with caplog.at_level(logging.WARNING):
        assert log(settings("csv"), folder) == RECORDS
    (record,) = caplog.records
    assert "logger=csv failed" in record.getMessage()
    assert "secret-word" not in caplog.text


def test_a_disk_that_takes_no_logs_does_not_fail_the_trial(folder, caplog):
    folder.parent.mkdir(parents=True)
    folder.touch()  # where the folder should be
    with caplog.at_level(logging.WARNING):
        assert log(settings("csv"), folder) == RECORDS
    assert len([r for r in caplog.records if "logger=csv failed" in r.getMessage()]) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "tensorbord"}, "logger must be a known name, got 'tensorbord'"),
        ("csv", None),
        ({"kind": "wandb", "mode": "loud", "project": "p"}, "logger.mode must be"),
        (None, "logger must be a known name, got 'None'"),
    ],
)
def test_a_wrong_logger_is_refused_before_anything_is_trained(config, message, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    wrapped = OmegaConf.create({"logger": config}).logger
    if message is None:
        check_logger(OmegaConf.create({"kind": config}))
        return
    with pytest.raises(UserError, match=message):
        check_logger(wrapped)


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"pip install 'tl_hpo\[{kind}\]'"):
        check_logger(OmegaConf.create({"kind": kind}))


def test_a_password_does_not_go_to_other_machines():
    uri = "https://me:secret-word@server"
    config = OmegaConf.create({"kind": "mlflow", "tracking_uri": uri, "experiment": "x"})
    check_logger(config)
    with pytest.raises(UserError, match=r"got https://me:\*\*\*@server; leave it to MLFLOW"):
        check_logger(config, here=False)


def test_a_store_that_cannot_be_reached_is_told_without_its_password(unused_url, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = unused_url("").replace("://", "://me:secret-word@").rstrip("/")
    config = settings("mlflow", tracking_uri=uri, experiment="x")
    with pytest.raises(UserError, match=r"logger\.tracking_uri must be a store") as caught:
        open_logger(config.logger)
    assert "secret-word" not in str(caught.value)


def test_a_trial_logs_what_it_reports_and_comes_to_the_same(trial, tmp_path):
    plain, _ = trial("finetune.scheduler=cosine")
    result, records = trial("finetune.scheduler=cosine", "logger=csv", "reuse=false")
    assert replace(result, seconds=0, phases={}) == replace(plain, seconds=0, phases={})
    rows = rows_of(tmp_path / "trial" / LOGS_FOLDER / "metrics.csv")
    assert [float(row["val_loss"]) for row in rows] == [r.val_loss for r in records]
    # Both phases have two epochs; the second's rate falls by the cosine's half.
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.01, 0.01, 0.01, 0.005])


def test_a_block_that_is_reused_is_logged_as_if_it_had_been_trained(trial, tmp_path):
    logs = tmp_path / "trial" / LOGS_FOLDER / "metrics.csv"
    trial("logger=csv")
    first = rows_of(logs)
    result, _ = trial("logger=csv")
    assert result.phases["head"].reused
    assert rows_of(logs) == first


def test_a_model_is_kept_without_the_address_of_its_logger(trial, tmp_path):
    trial("logger=csv", "+logger.tracking_uri=https://me:secret-word@server")
    kept = Path(tmp_path / "trial" / "model" / "config.yaml").read_text()
    assert "secret-word" not in kept + json.dumps([p.name for p in tmp_path.rglob("*")])
