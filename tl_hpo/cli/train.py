"""One trial, as train.py runs it."""

import logging

from omegaconf import DictConfig

from tl_hpo.cli.entry import run_folder
from tl_hpo.cli.plan import command_line
from tl_hpo.cli.searchable import refuse_unfollowed_settings
from tl_hpo.cli.sweeps import hide_passwords, hide_passwords_of_job
from tl_hpo.cli.tell import tell_split
from tl_hpo.data.split import write_split
from tl_hpo.errors import UserError
from tl_hpo.inference.speed import record_speed
from tl_hpo.memory import in_words, is_short
from tl_hpo.overrides import key_of
from tl_hpo.training.batches import half_batch
from tl_hpo.training.checks import check_config
from tl_hpo.training.loggers import open_logger
from tl_hpo.training.result import MODEL_FOLDER, TrialResult
from tl_hpo.training.trial import input_size, run_trial
from tl_hpo.training.worker import Worker

logger = logging.getLogger(__name__)


def train(config: DictConfig) -> TrialResult:
    """Run the trial that ``config`` describes and tell its result."""
    folder = run_folder()
    hide_passwords()
    hide_passwords_of_job(folder)
    refuse_unfollowed_settings([key_of(text) for text in command_line()])
    check_config(config)
    open_logger(config.logger)
    worker = Worker(config)
    data = worker.data(config, input_size(config))
    write_split(folder / "split.csv", data.table, data.split)
    tell_split(data.summary)
    keep = bool(config.save_model)
    test = bool(config.measure_test)
    try:
        result = run_trial(config, folder, keep_model=lambda _: keep, worker=worker, test=test)
    except Exception as error:
        if not is_short(error):
            raise
        raise _too_large(config, error) from error
    reason = f" ({result.reason})" if result.reason else ""
    logger.info("Validation: %s%s", _in_words(result.validation), reason)
    if result.test is not None:
        logger.info("Test:       %s", _in_words(result.test))
    logger.info(
        "Delimiting layer %d of %d, %s trainable parameters, %d epochs, %.0f s",
        result.delimiting_layer,
        result.n_layers,
        f"{result.trainable_parameters:,}",
        result.epochs,
        result.seconds,
    )
    logger.info("Result: %s", folder / "result.json")
    if keep:
        kept = folder / MODEL_FOLDER
        record_speed(kept, config.trainer.accelerator, config.precision, config.batch_size)
        logger.info("Model: %s", kept)
    return result


def _too_large(config: DictConfig, error: Exception) -> UserError:
    """Return what to tell where memory is not enough, as a search would go on from there."""
    half = half_batch(config)
    fewer = " ".join(f"{key}={value}" for key, value in half.items()) if half else "image_size=..."
    return UserError(
        f"memory must hold a batch of {config.batch_size} images in training, got: "
        f"{in_words(error)}; set {fewer}{', which takes the same steps' if half else ''}."
    )


def _in_words(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
