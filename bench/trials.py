"""The project's side: trials run as `optimize.py` runs them."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from tl_hpo.config import compose_trial
from tl_hpo.overrides import override
from tl_hpo.training.result import TrialResult
from tl_hpo.training.runner import LocalRunner


def in_store(overrides: Sequence[str], folder: Path) -> DictConfig:
    """Return the configuration that tells a runner of its machine, with its store in ``folder``."""
    return compose_trial([*overrides, override("store.dir", str(folder / "store"))])


def run(runner: LocalRunner, overrides: Sequence[str], rate: float, folder: Path) -> TrialResult:
    """Run one trial to its end and keep no model, as most trials of a search."""
    return runner.run(
        [*overrides, f"optimizer.lr={rate!r}"],
        folder / "trial",
        lambda record: False,
        lambda result: False,
    )
