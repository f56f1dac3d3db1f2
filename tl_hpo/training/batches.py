"""How many images a step of the optimizer takes, and how many of them are in memory at once."""

from omegaconf import DictConfig

from tl_hpo.data.pieces import LEAST
from tl_hpo.errors import UserError


def half_batch(config: DictConfig) -> dict[str, int] | None:
    """Return the settings that take the same steps with half the images at once.

    None where the batch cannot be halved: it is odd, or too small for BatchNorm already.
    """
    half, odd = divmod(config.batch_size, 2)
    devices = config.trainer.devices
    if odd or half % devices or half < LEAST * devices:
        return None
    return {"batch_size": half, "accumulate": 2 * config.accumulate}


def check_shares(config: DictConfig) -> None:
    """Raise UserError unless every device has an equal share of a batch."""
    devices, batch_size = config.trainer.devices, config.batch_size
    if devices > 1 and (batch_size % devices or batch_size < LEAST * devices):
        raise UserError(
            f"batch_size must be a multiple of trainer.devices, and at least {LEAST} for each, got "
            f"{batch_size} with trainer.devices={devices}; set batch_size="
            f"{devices * max(LEAST, round(batch_size / devices))}."
        )


def times_in_words(settings: dict[str, int]) -> str:
    """Return what a step takes, such as ``16 twice``."""
    times = settings["accumulate"]
    return f"{settings['batch_size']} {'twice' if times == 2 else f'{times} times'}"
