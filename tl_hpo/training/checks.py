"""What a trial's configuration must be, told before any image is read."""

from omegaconf import DictConfig, OmegaConf

from tl_hpo.data.split_settings import check_seed, read_settings
from tl_hpo.data.views import make_views
from tl_hpo.errors import UserError, unknown
from tl_hpo.models.backbone import check_image_size, default_size
from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.models.freezing import Phase
from tl_hpo.models.layers import layers_of
from tl_hpo.models.weights import check_weights
from tl_hpo.training.batches import check_shares
from tl_hpo.training.devices import check_accelerator, check_count, check_devices, resolve_precision
from tl_hpo.training.imbalance import IMBALANCE
from tl_hpo.training.loggers import check_logger
from tl_hpo.training.phases import check_phase, make_optimizer
from tl_hpo.training.worker import reuses

OBJECTIVES = ("val_accuracy", "val_f1", "val_mcc", "val_balanced_accuracy")


def check_config(config: DictConfig, *, here: bool = True) -> None:
    """Raise UserError for settings that cannot work, before any image is read.

    ``here`` is False for a trial of another machine, whose devices are not known.
    """
    _check_numbers(config)
    check_count(config.trainer.devices)
    if here:
        check_accelerator(config.trainer.accelerator)
        check_devices(config.trainer.accelerator, config.trainer.devices)
        check_weights(config.model.weights)
    check_shares(config)
    check_logger(config.logger, here=here)
    reuses(config)
    read_settings(config.split)
    for phase in Phase:
        check_phase(phase.value, config[phase.value])
        make_optimizer(phase.value, config[phase.value].optimizer)
    if config.objective not in OBJECTIVES:
        raise unknown("objective", config.objective, OBJECTIVES)
    if config.imbalance not in IMBALANCE:
        raise unknown("imbalance", str(config.imbalance), IMBALANCE)
    resolve_precision(config.precision, config.trainer.accelerator)
    check_image_size(config.image_size)
    _check_augment(config)
    if config.head.epochs == config.finetune.epochs == 0 and config.head.weights is None:
        raise UserError(
            "head.epochs and finetune.epochs must not both be 0, for nothing would be trained; "
            "raise one of them, or give head.weights."
        )
    expected = config.model.n_layers
    n_layers = count_layers(config)
    if expected is not None and expected != n_layers:
        raise UserError(
            f"model.n_layers must be what the trace of {config.model.name} finds, {n_layers}, "
            f"got {expected}; use model=timm model.name={config.model.name}."
        )
    resolve_delimiting_layer(config.delimiting_layer, n_layers)


def _check_augment(config: DictConfig) -> None:
    if not OmegaConf.is_dict(config.augment) or not isinstance(config.augment.test_time, bool):
        raise UserError(
            f"augment must have views and test_time true or false, got {config.augment!r}; "
            "choose augment=none, flips or views."
        )
    height, width = check_image_size(config.image_size) or default_size(config.model.name)
    if make_views(config.augment).turns and height != width:
        raise UserError(
            f"augment.views with quarter turns must have square images, got {height} x {width}; "
            "choose augment=flips or set image_size."
        )


def _check_numbers(config: DictConfig) -> None:
    check_seed(config.seed)
    batch_size = config.batch_size  # BatchNorm cannot train on single images
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 2:
        raise UserError(f"batch_size must be an integer of at least 2, got {batch_size!r}.")
    accumulate = config.accumulate
    if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
        raise UserError(f"accumulate must be an integer of at least 1, got {accumulate!r}.")
    share = config.dataset.max_unreadable
    if isinstance(share, bool) or not isinstance(share, (int, float)):
        raise UserError(f"dataset.max_unreadable must be a share from 0 to 1, got {share!r}.")
    if not isinstance(config.model.weights, str):
        raise UserError(
            f"model.weights must be imagenet, random or a file, got {config.model.weights!r}."
        )


def count_layers(config: DictConfig) -> int:
    """Return the number of layers of the configured model."""
    return len(layers_of(config.model.name, check_image_size(config.image_size)))
