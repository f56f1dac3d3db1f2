"""How many images a step of the optimizer takes, and how many of them are in memory at once."""

from omegaconf import DictConfig

from tl_hpo.data.pieces import LEAST


def half_batch(config: DictConfig) -> dict[str, int] | None:
    """Return the settings that take the same steps with half the images at once.

    None where the batch cannot be halved: it is odd, or too small for BatchNorm already.
    """
    half, odd = divmod(config.batch_size, 2)
    if odd or half < LEAST:
        return None
    return {"batch_size": half, "accumulate": 2 * config.accumulate}


def times_in_words(settings: dict[str, int]) -> str:
    """Return what a step takes, such as ``16 twice``."""
    times = settings["accumulate"]
    return f"{settings['batch_size']} {'twice' if times == 2 else f'{times} times'}"
