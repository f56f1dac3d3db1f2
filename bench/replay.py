"""Replays searches on the table of real trials: the project's own code, but nothing is trained."""

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import optuna
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from bench.replay_table import FINETUNE, HEAD, Curve, Table
from tl_hpo.config import CONF_DIR, group_options, register_resolvers
from tl_hpo.overrides import override, values_of
from tl_hpo.search.experiment import Experiment, Plan
from tl_hpo.search.samplers.gpyopt import GPyOptSampler
from tl_hpo.search.step import StepRun
from tl_hpo.search.strategy import parse_strategy
from tl_hpo.search.study import REASON
from tl_hpo.training.result import (
    HEAD_FILE,
    EpochRecord,
    KeepModel,
    PhaseSummary,
    Report,
    TrialResult,
)

DELIMITING_LAYER = 2 / 3  # of conf/base.yaml: where a step does not search it


@dataclass(frozen=True)
class Replayed:
    """One trial of a replayed search.

    Attributes:
        validation, test: accuracy of what it came to.
        seconds: that its epochs took when they were recorded.
        proposal: seconds of this process from the end of the trial before to its own beginning.

    """

    validation: float
    test: float
    seconds: float
    proposal: float


@dataclass(frozen=True)
class Chosen:
    """Settings of a trial, read from its overrides."""

    model: str
    head: tuple[str, float]
    finetune: tuple[str, float]
    layer: int | float
    epochs: tuple[bool, bool]
    block: str | None

    @classmethod
    def of(cls, overrides: Sequence[str]) -> "Chosen":
        """Read overrides of train.py; the phases follow ``optimizer`` unless they say otherwise."""
        values = {key: text.strip("'") for key, text in values_of(overrides).items()}
        phases = [
            (
                values.get(f"optimizer@{phase}.optimizer", values.get("optimizer", "adam")),
                float(values.get(f"{phase}.optimizer.lr", values.get("optimizer.lr", "0.001"))),
            )
            for phase in (HEAD, FINETUNE)
        ]
        model = values.get("model", "")
        return cls(
            values["model.name"] if model == "timm" else model,
            phases[0],
            phases[1],
            _number(values.get("delimiting_layer", repr(DELIMITING_LAYER))),
            (values.get("head.epochs") != "0", values.get("finetune.epochs") != "0"),
            values.get("head.weights"),
        )

    def settings(self) -> dict[str, Any]:
        """Return the columns of trials.csv that describe a trial."""
        return {
            "model": self.model,
            "head_optimizer": self.head[0],
            "head_lr": self.head[1],
            "finetune_optimizer": self.finetune[0],
            "finetune_lr": self.finetune[1],
            "delimiting_layer": self.layer,
        }

    def depth(self, n_layers: int) -> float:
        """Return the share of the layers that stay frozen."""
        return self.layer if isinstance(self.layer, float) else self.layer / n_layers


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


class TableRunner:
    """Runs trials by looking them up; notes every one in ``trials``.

    Args:
        table: of recorded trials.

    """

    def __init__(self, table: Table) -> None:
        self.trials: list[Replayed] = []
        self._table = table
        self._blocks: dict[str, float] = {}  # validation accuracy, by the file that would hold it
        self._since = time.process_time()
        self._proposal = 0.0

    def count_layers(self, overrides: Sequence[str]) -> int:
        """Return the number of layers of the model that ``overrides`` choose."""
        return self._table.layers[Chosen.of(overrides).model]

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the columns of trials.csv that describe a trial; it has just been proposed."""
        self._proposal = time.process_time() - self._since
        return Chosen.of(overrides).settings()

    def halved(self, overrides: Sequence[str]) -> None:
        """Say that there is no batch to halve: looking up takes no memory."""

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        report: Report,
        keep_model: KeepModel,
    ) -> TrialResult:
        """Report the epochs of a trial until they are over or ``report`` ends it."""
        chosen, table = Chosen.of(overrides), self._table
        trial = _Trial(report, table.majority_share, table.head_epochs)
        block = self._blocks.get(chosen.block) if chosen.block else None
        if chosen.epochs[0]:
            trial.train(HEAD, table.head(chosen.model, *chosen.head))
            block = trial.reached[0]
            self._blocks[str(folder / HEAD_FILE)] = block
        n_layers = table.layers[chosen.model]
        depth = chosen.depth(n_layers)
        if chosen.epochs[1] and not trial.cancelled:
            trial.train(
                FINETUNE, table.finetune(chosen.model, *chosen.finetune, depth=depth, block=block)
            )
        self.trials.append(Replayed(*trial.reached, trial.seconds, self._proposal))
        result = trial.result(n_layers, round(depth * n_layers))
        keep_model(result)
        self._since = time.process_time()
        return result


class _Trial:
    """A trial that runs."""

    def __init__(self, report: Report, majority_share: float, head_epochs: int) -> None:
        self.reached = (majority_share, majority_share)  # nothing is trained yet
        self.cancelled = False
        self.epochs = {HEAD: 0, FINETUNE: 0}
        self.spent = {HEAD: 0.0, FINETUNE: 0.0}
        self._report = report
        self._majority_share = majority_share
        self._head_epochs = head_epochs

    @property
    def seconds(self) -> float:
        return sum(self.spent.values())

    def train(self, phase: str, curve: Curve) -> None:
        """Go through a phase; one that ends early has what its best epoch until then reached."""
        for epoch, (value, seconds) in enumerate(
            zip(curve.validation.tolist(), curve.seconds.tolist(), strict=True), 1
        ):
            self.epochs[phase] = epoch
            self.spent[phase] += seconds
            if self._report(self._record(phase, epoch, value)):
                self.cancelled = True
                best = int(curve.validation[:epoch].argmax())
                self.reached = float(curve.validation[best]), float(curve.test[best])
                return
        self.reached = curve.reached

    def _record(self, phase: str, epoch: int, value: float) -> EpochRecord:
        return EpochRecord(
            phase=phase,
            epoch=epoch,
            number=sum(self.epochs.values()),
            step=epoch if phase == HEAD else self._head_epochs + epoch,
            train_loss=1 - value,  # searches do not look at losses
            val_loss=1 - value,
            val_accuracy=value,
            objective=value,
            majority_share=self._majority_share,
        )

    def result(self, n_layers: int, delimiting_layer: int) -> TrialResult:
        """Return what a trial of the search returns: nothing of the test side."""
        return TrialResult(
            state="PRUNED" if self.cancelled else "COMPLETE",
            val_accuracy=self.reached[0],
            validation={"accuracy": self.reached[0]},
            test=None,
            phases={p: PhaseSummary(self.epochs[p], self.spent[p]) for p in (HEAD, FINETUNE)},
            n_layers=n_layers,
            delimiting_layer=delimiting_layer,
            trainable_parameters=0,
            seconds=self.seconds,
            objective=self.reached[0],
            reason="early cancel" if self.cancelled else "",
            epochs=sum(self.epochs.values()),
        )


class _Unwritten(Experiment):
    """An experiment that leaves no files.

    Args:
        start: trials of every study that are given to it: the initial design of ``gpyopt`` with
            the same seed, so that two samplers begin with the same points.
        storage: of its studies.

    """

    def __init__(
        self, plan: Plan, runner: TableRunner, start: int, storage: BaseStorage | None
    ) -> None:
        super().__init__(plan, runner, storage or InMemoryStorage())
        self._start = start

    def record(self) -> None:
        """Write nothing."""

    def _step_run(self, *args: Any, **kwargs: Any) -> StepRun:
        run = super()._step_run(*args, **kwargs)
        space = run.space.distributions
        design = GPyOptSampler(
            seed=run.seed, space=space, usual=run.space.usual, n_initial=max(self._start, 1)
        )
        study = optuna.create_study(sampler=design)
        for _ in range(self._start):
            run.study.enqueue_trial(study.ask(fixed_distributions=space).params)
        return run


def replay(
    config: Mapping[str, Any],
    table: Table,
    seed: int,
    start: int = 0,
    storage: BaseStorage | None = None,
    **more: Any,
) -> list[Replayed]:
    """Run an experiment on the table and return its trials in the order of training.

    Args:
        config: what `compose_search` returns.
        table: of recorded trials.
        seed: of the search.
        start: trials that come from gpyopt's initial design, whatever the sampler.
        storage: of its studies; in memory by default.
        more: of the plan, such as ``warm_start``.

    Raises:
        RuntimeError: some trial failed, which none of the table does.

    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runner = TableRunner(table)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plan = replace(make_plan(config), folder=Path(folder) / "run", seed=seed, **more)
        experiment = _Unwritten(plan, runner, start, storage)
        experiment.run()
    _check(experiment)
    return runner.trials


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a search says of its trials from the terminal."""
    logger = logging.getLogger("tl_hpo")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check(experiment: Experiment) -> None:
    for name, study in experiment.studies.items():
        for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            raise RuntimeError(f"{name} trial {trial.number} failed: {trial.user_attrs[REASON]}")


def compose_search(overrides: Sequence[str], table: Table, trials: int) -> dict[str, Any]:
    """Return the resolved config of optimize.py for a search of ``trials`` trials in all.

    It searches the models and optimizers of the table. The steps of a strategy share the trials
    evenly; the last, the layer step, has what is left.

    Raises:
        ValueError: the strategy has another number of trials.

    """
    steps = len(_compose(overrides, table, 1, 1)["strategy"]["steps"])
    each = trials // steps
    config = _compose(overrides, table, each, trials - (steps - 1) * each)
    asked = sum(step["trials"] for step in config["strategy"]["steps"])
    if asked != trials:
        raise ValueError(f"{overrides} must make {trials} trials in all, got {asked}")
    return config


def _compose(
    overrides: Sequence[str], table: Table, n_trials: int, layer_trials: int
) -> dict[str, Any]:
    register_resolvers()
    searched = [
        override("search.models", table.models),
        override("search.optimizers", table.optimizers),
        f"search.n_trials={n_trials}",
        f"search.layer_trials={layer_trials}",
    ]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=[*searched, *overrides])
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def make_plan(config: Mapping[str, Any]) -> Plan:
    """Return what the config asks an experiment to do; folder and seed are the caller's."""
    return Plan(
        folder=Path(),
        strategy=parse_strategy(config["strategy"]),
        overrides=[],
        fixed=[],
        models=group_options("model"),
        sampler=config["sampler"],
        pruner=config["pruner"],
        seed=0,
    )
