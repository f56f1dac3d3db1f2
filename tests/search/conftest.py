"""Experiments on a simulated objective."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from sqlalchemy import event
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))

from simulated import Layered

from tl_hpo.config import CONF_DIR, group_options, register_resolvers
from tl_hpo.search.experiment import Experiment, Plan
from tl_hpo.search.samplers._session import session
from tl_hpo.search.strategy import parse_strategy
from tl_hpo.search.study import open_storage


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


class Past:
    """Earlier experiments, each run to its end; the value of a call is its run folder.

    One that has been run with the same arguments before is copied.
    """

    def __init__(self, plan: Callable[..., Plan], parent: Path, kept: Path) -> None:
        self._plan, self._parent, self._kept = plan, parent, kept

    def __call__(
        self,
        strategy: str,
        *overrides: str,
        name: str = "earlier",
        seed: int = 0,
        runner: Any = None,
        change: Callable[[Plan], Plan] = lambda plan: plan,
    ) -> Path:
        plan = self._plan(f"strategy={strategy}", "search.optimizers=[sgd,adam,nadam]", *overrides)
        plan = change(replace(plan, folder=self._parent / name, seed=seed))
        if runner is not None:
            return self._run(plan, runner)
        kept = (
            self._kept
            / hashlib.sha256(repr((plan.strategy, plan.pruner, seed)).encode()).hexdigest()
        )
        if not kept.exists():
            self._run(replace(plan, folder=kept), Layered())
        shutil.copytree(kept, plan.folder)
        return plan.folder

    @staticmethod
    def _run(plan: Plan, runner: Any) -> Path:
        plan.folder.mkdir()
        storage = open_storage(plan.folder / "study.db")

        @event.listens_for(storage.engine, "connect")
        def hurry(connection: Any, _: Any) -> None:  # nobody pulls the plug on a test
            connection.execute("PRAGMA synchronous = OFF")

        storage.engine.dispose()
        try:
            Experiment(plan, runner, storage).run()
        finally:
            storage.engine.dispose()
        return plan.folder


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture
def past(plan: Callable[..., Plan], tmp_path: Path, kept: Path) -> Past:
    return Past(plan, tmp_path, kept)


@pytest.fixture(scope="module")
def one_thread():
    """Linear algebra this small is several times slower with a thread per core."""
    with session(0):  # loads the libraries, so that they can be limited
        pass
    with threadpool_limits(limits=1, user_api="blas"):
        yield
