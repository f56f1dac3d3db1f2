"""Experiments on a simulated objective."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).parent))

from tl_hpo.config import CONF_DIR, group_options, register_resolvers
from tl_hpo.search.experiment import Experiment, Plan
from tl_hpo.search.strategy import parse_strategy


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    """Make the plan that a command line of optimize.py stands for."""

    def make(*overrides: str, fixed: tuple[str, ...] = ()) -> Plan:
        register_resolvers()
        defaults = ["search.n_trials=6", "search.layer_trials=3", "sampler=random", "pruner=none"]
        models = "search.models=[densenet121,vgg16]"
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = compose("optimize", overrides=[*defaults, models, *overrides])
        resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore
        return Plan(
            folder=tmp_path / "run",
            strategy=parse_strategy(resolved["strategy"]),
            overrides=["model=densenet121", "optimizer=adam", "seed=7"],
            fixed=fixed,
            models=group_options("model"),
            sampler=resolved["sampler"],
            pruner=resolved["pruner"],
            seed=0,
        )

    return make


@pytest.fixture
def run() -> Callable[[Plan, Any], Any]:
    """Run an experiment to its end and return it."""

    def go(plan: Plan, runner: Any) -> Experiment:
        experiment = Experiment(plan, runner)
        experiment.run()
        return experiment

    return go
