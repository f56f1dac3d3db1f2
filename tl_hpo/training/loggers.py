"""Loggers of others, such as TensorBoard, that follow the epochs of every trial.

They see what is reported, after the fact: nothing in a trial depends on them, and one that fails
is told of once and left alone.
"""

import importlib.util
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.wandb import WandbLogger
from omegaconf import DictConfig, OmegaConf

from tl_hpo.errors import UserError, install, unknown
from tl_hpo.files import write_json
from tl_hpo.passwords import hide
from tl_hpo.training.result import EpochRecord, Report

logger = logging.getLogger(__name__)

LOGS_FOLDER = "tl_hpo_logs"  # in a trial's folder; it is removed, so nobody else may have it
BEST_METRIC = "best_val_accuracy"
PHASE_NUMBERS = {"head": 1, "finetune": 2}
WANDB_MODES = ("offline", "online")
_RUN_FILE = "mlflow_run.json"  # in the folder of logs: the run, should the trial be run again
_PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
_KINDS = ("none", "csv", *_PACKAGES)
# The user's own settings go before these.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is gone must not hold up a trial
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is told to anybody that was not asked for
    "WANDB_ERROR_REPORTING": "false",
}


def check_logger(settings: Any, *, here: bool = True) -> None:
    """Raise UserError unless ``logger`` is one that is known and installed.

    ``here`` is False for trials of other machines, which what they need is sent to in files.
    """
    kind = settings.get("kind") if OmegaConf.is_dict(settings) else settings
    if kind not in _KINDS:
        raise unknown("logger", str(kind), _KINDS)
    package = _PACKAGES.get(kind)
    if package and importlib.util.find_spec(package) is None:
        raise UserError(
            f"logger={kind} must have the package {package}, got none installed; say "
            f"{install(str(kind))}."
        )
    if kind == "wandb" and settings.mode not in WANDB_MODES:
        raise unknown("logger.mode", str(settings.mode), WANDB_MODES)
    if kind == "mlflow" and not here and hide(settings.tracking_uri) != settings.tracking_uri:
        raise UserError(
            "logger.tracking_uri must have no password where trials run on other machines, got "
            f"{hide(settings.tracking_uri)}; leave it to MLFLOW_TRACKING_PASSWORD there."
        )


def open_logger(settings: DictConfig) -> None:
    """Make sure, before anything is trained, that a logger's store is there.

    The workers of a search would make it all at once.

    Raises:
        UserError: it cannot be reached.

    """
    if settings.kind != "mlflow":
        return
    try:
        _mlflow_experiment(settings)
    except Exception as error:  # its own, SQLAlchemy's, requests': all mean the same here
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"logger.tracking_uri must be a store that MLflow reaches, got "
            f"{hide(settings.tracking_uri)} ({hide(first)}); mend it, or set logger=none."
        ) from None


@contextmanager
def logged(
    config: DictConfig, hyperparameters: dict[str, Any], folder: Path | None, report: Report
) -> Iterator[Report]:
    """Yield a report that logs every epoch before it hands it on to ``report``.

    Args:
        config: of a trial.
        hyperparameters: that are logged once.
        folder: of the trial; None: nothing is logged.

    """
    make = _MAKERS.get(config.logger.kind)
    if make is None or folder is None:
        yield report
        return
    _set_environment()
    safe = _Safe(config.logger.kind)
    safe.call(lambda: _clear(config.logger, folder / LOGS_FOLDER))
    log = safe.call(lambda: _Log(make(config.logger, folder), hyperparameters))

    def reported(record: EpochRecord) -> bool:
        if log is not None:
            safe.call(lambda: log.epoch(record))
        return report(record)

    status = "failed"
    try:
        yield reported
        status = "success"
    finally:
        if log is not None:
            safe.call(lambda: log.close(status), always=True)


def _set_environment() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class _Safe:
    """Calls what may fail until it has failed once, which it tells."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._failed = False

    def call(self, act: Callable[[], Any], *, always: bool = False) -> Any:
        """Return what ``act`` returns; None once anything has failed, unless ``always``."""
        if self._failed and not always:
            return None
        try:
            return act()
        except Exception as error:  # whatever it is, the trial is worth more
            if not self._failed:
                first = (str(error).strip().splitlines() or [""])[0]
                reason = hide(f"{type(error).__name__}: {first}")
                logger.warning(
                    "logger=%s failed, and follows this trial no further (%s)", self._kind, reason
                )
            self._failed = True
            return None


class _Log:
    """One run of a logger: the epochs of one trial, over both phases."""

    def __init__(self, target: Logger, hyperparameters: dict[str, Any]) -> None:
        self._target = target
        self._phase = ""
        self._best: EpochRecord | None = None
        if isinstance(target, TensorBoardLogger):  # lists runs by the metrics that are named first
            target.log_hyperparams(hyperparameters, {BEST_METRIC: 0.0})
        else:
            target.log_hyperparams(hyperparameters)

    def epoch(self, record: EpochRecord) -> None:
        """Log an epoch, and the accuracy of the best one of its phase so far."""
        if record.phase != self._phase or self._best is None:
            self._phase, self._best = record.phase, record
        elif record.objective > self._best.objective:
            self._best = record
        metrics = {
            "train_loss": record.train_loss,
            "val_loss": record.val_loss,
            "val_accuracy": record.val_accuracy,
            "objective": record.objective,
            "phase": PHASE_NUMBERS[record.phase],
            BEST_METRIC: self._best.val_accuracy,
        }
        if record.learning_rate is not None:
            metrics["learning_rate"] = record.learning_rate
        self._target.log_metrics(metrics, step=record.number)
        self._target.save()

    def close(self, status: str) -> None:
        """End the run; ``status`` is ``success`` or ``failed``."""
        self._target.finalize(status)
        if isinstance(self._target, WandbLogger):
            self._target.experiment.finish(exit_code=int(status != "success"))


def _clear(settings: DictConfig, logs: Path) -> None:
    """Remove what an earlier, interrupted run of the trial has logged."""
    if settings.kind == "mlflow" and (logs / _RUN_FILE).is_file():
        kept = json.loads((logs / _RUN_FILE).read_text(encoding="utf-8"))
        _delete_mlflow_run(settings, kept["run_id"])
    if logs.is_dir():
        shutil.rmtree(logs)


def _run_name(folder: Path) -> str:
    """Return what tells a trial from those of other experiments: ``EXPERIMENT/STEP-NUMBER``."""
    parent = folder.parent.parent if folder.parent.name == "trials" else folder.parent
    return f"{parent.name}/{folder.name}"


def _csv(settings: DictConfig, folder: Path) -> Logger:
    return CSVLogger(folder, name=LOGS_FOLDER, version="", flush_logs_every_n_steps=1)


def _tensorboard(settings: DictConfig, folder: Path) -> Logger:
    return TensorBoardLogger(folder, name=LOGS_FOLDER, version="", default_hp_metric=False)


def _mlflow(settings: DictConfig, folder: Path) -> Logger:
    target = MLFlowLogger(
        experiment_name=settings.experiment,
        run_name=_run_name(folder.absolute()),
        tracking_uri=settings.tracking_uri,
    )
    write_json(folder / LOGS_FOLDER / _RUN_FILE, {"run_id": target.run_id})
    return target


def _mlflow_client(settings: DictConfig) -> Any:
    _set_environment()
    from mlflow.tracking import MlflowClient

    return MlflowClient(settings.tracking_uri)


def _delete_mlflow_run(settings: DictConfig, run: str) -> None:
    client = _mlflow_client(settings)
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # another tracking_uri than then does not know it
        client.delete_run(run)


def _mlflow_experiment(settings: DictConfig) -> None:
    path = settings.tracking_uri.removeprefix("sqlite:///")
    if path != settings.tracking_uri:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    client = _mlflow_client(settings)
    if client.get_experiment_by_name(settings.experiment) is None:
        client.create_experiment(settings.experiment)


def _wandb(settings: DictConfig, folder: Path) -> Logger:
    import wandb

    logs = folder / LOGS_FOLDER
    logs.mkdir(parents=True, exist_ok=True)
    name = _run_name(folder.absolute())
    return WandbLogger(
        name=name,
        group=name.partition("/")[0],
        save_dir=logs,
        project=settings.project,
        mode=settings.mode,
        # It would note the command line, where there may be passwords, and take over the terminal.
        settings=wandb.Settings(console="off", x_disable_meta=True, silent=True),
    )


_MAKERS: dict[str, Callable[[DictConfig, Path], Logger]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
