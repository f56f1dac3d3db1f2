"""Trials that only wait, and experiments of them, to measure what drives a search."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bench.replay import Chosen, make_plan
from tl_hpo.config import CONF_DIR, register_resolvers
from tl_hpo.search.executors.wire import Setup
from tl_hpo.search.plan import Plan
from tl_hpo.training.result import EpochRecord, KeepModel, PhaseSummary, Report, TrialResult

N_LAYERS = 100
EPOCHS = 5


class Waiting:
    """Runs trials that wait, and score what their learning rate is worth.

    Args:
        seconds: that a trial takes.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def count_layers(self, overrides: Sequence[str]) -> int:
        """Return the number of layers of any model."""
        return N_LAYERS

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the columns of trials.csv that describe a trial."""
        return Chosen.of(overrides).settings()

    def halved(self, overrides: Sequence[str]) -> None:
        """Return that there is no batch to halve: memory never lacks."""

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        report: Report,
        keep_model: KeepModel,
    ) -> TrialResult:
        """Wait, reporting epochs on the way."""
        score = 1 / (1 + Chosen.of(overrides).head[1])
        for number in range(1, EPOCHS + 1):
            time.sleep(self._seconds / EPOCHS)
            report(EpochRecord("head", number, number, number, 0.0, 0.0, score, score, 0.0))
        phases = {"head": PhaseSummary(EPOCHS, self._seconds), "finetune": PhaseSummary(0, 0.0)}
        result = TrialResult(
            "COMPLETE", score, {"accuracy": score}, None, phases, N_LAYERS, N_LAYERS, 0,
            self._seconds, score, epochs=EPOCHS,
        )  # fmt: skip
        keep_model(result)
        return result


class Threads(Waiting):
    """Runs trials that wait in the threads that the search has for its workers.

    Args:
        seconds: that a trial takes.
        workers: how many run at the same time.

    """

    def __init__(self, seconds: float, workers: int) -> None:
        super().__init__(seconds)
        self.workers = workers

    def stop(self) -> None:
        """Do nothing: trials end by themselves."""

    kill = close = stop


def make_waiting(seconds: float) -> Waiting:
    """Return the runner of `waiting_setup`, in a worker process."""
    return Waiting(seconds)


def waiting_setup(seconds: float, modules: list[str]) -> Setup:
    """Return what makes a worker's runner."""
    return Setup("bench.simulated:make_waiting", {"seconds": seconds}, modules)


def waiting_plan(folder: Path, trials: int, *overrides: str) -> Plan:
    """Return the plan of a search of ``trials`` trials at random, with the strategy ``joint``."""
    register_resolvers()
    asked = ["strategy=joint", "sampler=random", "pruner=none", f"search.n_trials={trials}"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=[*asked, *overrides])
    resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return replace(make_plan(resolved), folder=folder)
