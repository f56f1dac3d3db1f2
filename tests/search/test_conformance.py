"""Every sampler of conf/sampler with every strategy of conf/strategy, all through one script."""

import functools
import itertools
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from simulated import LAYERS, SimulatedRunner, parsed

from tl_hpo.config import CONF_DIR, group_options, register_resolvers
from tl_hpo.search.experiment import Experiment, Plan
from tl_hpo.search.proposing import is_used_up
from tl_hpo.search.strategy import parse_strategy

pytestmark = pytest.mark.usefixtures("one_thread")


MODELS = ("densenet121", "vgg16")
OPTIMIZERS = ("sgd", "rmsprop", "adam")
TRIALS, LAYER_TRIALS, INITIAL = 4, 4, 3  # so the last of a step is what a model proposes

CONDITIONAL = f"""
name: conditional
steps:
  - name: conditional
    trials: {TRIALS + 1}
    space:
      model: {{choices: [densenet121, vgg16]}}
      optimizer: {{choices: [sgd, rmsprop, adam]}}
      optimizer.lr: {{low: 0.0001, high: 1, log: true}}
      optimizer.momentum: {{low: 0.0, high: 0.9, when: {{optimizer: [sgd, rmsprop]}}}}
"""
SMALL = """
name: small
steps:
  - name: small
    trials: 7
    space:
      model: {choices: [densenet121, vgg16]}
      optimizer: {choices: [sgd, adam]}
"""
FAILING_MODEL = """
name: failing
steps:
  - name: failing
    trials: 10
    space:
      model: {choices: [densenet121, vgg16]}
      optimizer: {choices: [sgd, rmsprop, adam]}
      optimizer.lr: {low: 0.0001, high: 1, log: true}
"""
FAILING_LAYERS = """
name: layers
steps:
  - name: layers
    trials: 10
    space:
      delimiting_layer: {low: 0, high: n_layers, integer: true}
"""
OURS = {
    "conditional": CONDITIONAL,
    "small": SMALL,
    "failing": FAILING_MODEL,
    "layers": FAILING_LAYERS,
}

SAMPLERS = sorted(group_options("sampler"))
STRATEGIES = [*sorted(group_options("strategy")), "conditional"]

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@functools.cache
def composed(group: str, name: str) -> dict[str, Any]:
    """A config of ``conf/GROUP`` as a command line of optimize.py composes it, short and cheap."""
    if name in OURS:
        found: dict[str, Any] = yaml.safe_load(OURS[name])
        return found
    register_resolvers()
    overrides = [
        f"search.n_trials={TRIALS}",
        f"search.layer_trials={LAYER_TRIALS}",
        f"search.models=[{','.join(MODELS)}]",
        f"search.optimizers=[{','.join(OPTIMIZERS)}]",
        f"{group}={name}",
    ]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=overrides)
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    quick = {"n_initial": INITIAL}
    if resolved[group].get("kernel") == "gpyopt":  # slow, and no other kernel takes the option
        quick["optimize_restarts"] = 1
    found = resolved[group]
    for step in found.get("steps", ()):
        if "each" in step:  # its trials are shared by a study per model
            step["trials"] *= len(MODELS)
    return {**found, **{key: value for key, value in quick.items() if key in found}}


def planned(folder: Path, sampler: str, strategy: str, seed: int = 0) -> Plan:
    return Plan(
        folder=folder,
        strategy=parse_strategy(composed("strategy", strategy)),
        overrides=["model=densenet121", "optimizer=adam", "seed=7"],
        fixed=(),
        models=group_options("model"),
        sampler=composed("sampler", sampler),
        pruner={"name": "none"},
        seed=seed,
    )


@dataclass(frozen=True)
class Run:
    """What came of an experiment: the overrides of every trial, and its studies."""

    asked: Sequence[Sequence[str]]
    studies: dict[str, optuna.Study]

    def proposed(self) -> dict[str, list[dict[str, Any]]]:
        """What the sampler proposed in every study, points that had been tried before included."""
        return {name: [t.params for t in study.trials] for name, study in self.studies.items()}


def run(plan: Plan, runner: SimulatedRunner | None = None, storage: Any = None) -> Run:
    runner = runner or SimulatedRunner()
    experiment = Experiment(plan, runner, storage=storage or InMemoryStorage())
    experiment.run()
    return Run(asked(runner, plan.folder), experiment.studies)


def asked(runner: SimulatedRunner, folder: Path) -> list[list[str]]:
    """The overrides of the trials, wherever their run folder lies."""
    return [[text.replace(str(folder), "RUN") for text in overrides] for overrides in runner.asked]


@functools.cache
def whole(sampler: str, strategy: str) -> Run:
    """The uninterrupted experiment, run once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        return run(planned(Path(folder) / "run", sampler, strategy))


@every_strategy
@every_sampler
def test_every_value_lies_in_its_distribution(sampler, strategy):
    studies = whole(sampler, strategy).studies
    assert studies
    for study in studies.values():
        assert_in_distributions(study)


def assert_in_distributions(study: optuna.Study) -> None:
    for trial in study.trials:
        assert trial.params
        for name, distribution in trial.distributions.items():
            assert distribution._contains(distribution.to_internal_repr(trial.params[name]))


@every_strategy
@every_sampler
def test_every_override_is_within_what_the_search_allows(sampler, strategy):
    asked = whole(sampler, strategy).asked
    assert len(asked) >= TRIALS
    for overrides in asked:
        values = parsed(overrides)
        assert values["model"] in MODELS
        for key, value in values.items():
            if key.partition("@")[0] == "optimizer":
                assert value in OPTIMIZERS
            elif key.endswith("optimizer.lr"):
                assert 1e-4 <= float(value) <= 1
        assert_layer_exists(values)


def assert_layer_exists(values: dict[str, str]) -> None:
    layer = values.get("delimiting_layer", "0.5")
    if "." in layer or "e" in layer:
        assert 0.0 <= float(layer) <= 1.0
    else:
        assert 0 <= int(layer) <= LAYERS[values["model"]]


@every_sampler
def test_an_axis_that_does_not_apply_sets_nothing(sampler):
    for overrides in whole(sampler, "conditional").asked:
        values = parsed(overrides)
        assert ("optimizer.momentum" in values) == (values["optimizer"] in ("sgd", "rmsprop"))
        assert 0 <= float(values.get("optimizer.momentum", 0)) <= 0.9


def interrupted(plan: Plan, moment: int, storage: InMemoryStorage) -> list[list[str]]:
    """Run until a trial is interrupted, ``moment`` trials on; return what was asked until then."""
    runner = SimulatedRunner(lambda n: KeyboardInterrupt() if n == moment else None)
    with pytest.raises(KeyboardInterrupt):
        run(plan, runner, storage)
    return asked(runner, plan.folder)


@every_strategy
@every_sampler
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path, sampler, strategy):
    plan, storage = planned(tmp_path / "run", sampler, strategy), InMemoryStorage()
    expected, found = whole(sampler, strategy), []
    # What follows, a model proposes; ours is long enough to interrupt between two such trials.
    # Where there is a second step, it is interrupted as well.
    moments = [TRIALS if strategy == "conditional" else INITIAL, TRIALS + 1]
    for moment in moments[: len(plan.strategy.steps)]:
        *begun, last = interrupted(plan, moment, storage)
        found += begun
        assert last == expected.asked[len(found)]
    resumed = run(plan, storage=storage)
    assert [*found, *resumed.asked] == expected.asked
    assert resumed.proposed() == expected.proposed()


@every_strategy
@every_sampler
def test_another_seed_gives_other_proposals(tmp_path, sampler, strategy):
    plan = planned(tmp_path / "run", sampler, strategy, seed=1)
    other = interrupted(plan, INITIAL, InMemoryStorage())
    assert other != whole(sampler, strategy).asked[:INITIAL]


class Flat(SimulatedRunner):
    """All configurations are equally good."""

    def score(self, overrides: Sequence[str]) -> float:
        return 0.7


def every_third_fails(n: int) -> Exception | None:
    return RuntimeError("out of memory") if n % 3 == 0 else None


@every_sampler
def test_equal_scores_end_no_search(tmp_path, sampler):
    study = run(planned(tmp_path / "run", sampler, "conditional"), Flat()).studies["conditional"]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * (TRIALS + 1)
    assert len(points(study)) == TRIALS + 1


@every_strategy
@every_sampler
def test_failed_trials_among_equal_ones_end_no_search(tmp_path, sampler, strategy):
    found = run(planned(tmp_path / "run", sampler, strategy), Flat(every_third_fails))
    states = [trial.state for study in found.studies.values() for trial in study.trials]
    assert states.count(TrialState.FAIL) == len(found.asked) // 3 > 0
    assert set(states) == {TrialState.FAIL, TrialState.COMPLETE}
    for study in found.studies.values():
        assert len(points(study)) > 1 or len(study.trials) == 1


def points(study: optuna.Study) -> set[tuple[Any, ...]]:
    return {tuple(trial.params.values()) for trial in study.trials}


@every_sampler
def test_a_space_that_is_explored_entirely_ends_without_an_error(tmp_path, sampler):
    found = run(planned(tmp_path / "run", sampler, "small"))
    everything = set(itertools.product(MODELS, ("sgd", "adam")))
    assert points(found.studies["small"]) == everything
    assert len(found.asked) == len(everything)


class Failing(SimulatedRunner):
    """Some configurations always fail, as those that need more memory than there is."""

    def __init__(self, fails: Callable[[dict[str, str]], bool]) -> None:
        super().__init__()
        self.fails, self.failed = fails, 0

    def score(self, overrides: Sequence[str]) -> float:
        """Fewer frozen layers are better, as far as memory lasts."""
        values = parsed(overrides)
        if self.fails(values):
            self.failed += 1
            raise RuntimeError("out of memory")
        return super().score(overrides) - 0.01 * int(values.get("delimiting_layer", 0))


def of_a_model(values: dict[str, str]) -> bool:
    return values["model"] == "densenet121"


def with_few_frozen(values: dict[str, str]) -> bool:
    return int(values["delimiting_layer"]) < 15


# The share that random search fails with is a half of the first, and 15 of 41 of the second.
FAILING = {"a model": (of_a_model, "failing"), "few frozen layers": (with_few_frozen, "layers")}
MOST_FAILURES = 4  # of 10; a model that knows of no failures has 6 to 9


# GPyOpt's own kernel is slow; one axis shows what it does about failures.
FAILING_CASES = [
    (sampler, kind)
    for sampler, kind in itertools.product(SAMPLERS, FAILING)
    if kind == "few frozen layers" or sampler not in ("gpyopt_plain", "gpyopt_paper")
]


@pytest.mark.parametrize(("sampler", "kind"), FAILING_CASES)
def test_what_always_fails_is_not_tried_again_and_again(tmp_path, sampler, kind):
    fails, strategy = FAILING[kind]
    plan, runner = planned(tmp_path / "run", sampler, strategy, seed=1), Failing(fails)
    study = run(plan, runner).studies[strategy]
    assert len(runner.asked) == 10 or is_used_up(study)
    assert max(Counter(map(tuple, runner.asked)).values()) <= 2
    assert 0 < runner.failed < len(runner.asked)
    if sampler.startswith("gpyopt"):
        assert runner.failed <= MOST_FAILURES


OPTIONS = [
    {"model_type": "sparseGP"},
    {"ARD": True, "acquisition_type": "MPI"},
    {"acquisition_type": "LCB", "design": "sobol"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_options_of_gpyopt_propose_points_of_the_space(tmp_path, caplog, options):
    plan = planned(tmp_path / "run", "gpyopt_plain", "failing")
    (step,) = plan.strategy.steps
    strategy = replace(plan.strategy, steps=(replace(step, trials=INITIAL + 2),))
    plan = replace(plan, strategy=strategy, sampler=plan.sampler | options)
    found = run(plan)
    assert_in_distributions(found.studies["failing"])
    assert len(found.asked) == len(points(found.studies["failing"])) == INITIAL + 2
    warned = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert not warned  # such as that a random point is drawn instead
