"""From a composed optimize.yaml to what an experiment is to do, checked before it begins."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution

from tl_hpo.cli.execution import runs_elsewhere
from tl_hpo.cli.searchable import check_axes, refuse_unfollowed_settings
from tl_hpo.config import (
    group_options,
    is_of_a_trial,
    leaves,
    trial_overrides,
    user_search_path,
)
from tl_hpo.errors import UserError
from tl_hpo.overrides import key_of, merged, override
from tl_hpo.search.earlier import Earlier, configurations
from tl_hpo.search.limits import Limits
from tl_hpo.search.plan import Plan
from tl_hpo.search.pruners import make_pruner
from tl_hpo.search.repeats import Repeats
from tl_hpo.search.results import has_results
from tl_hpo.search.samplers import make_sampler
from tl_hpo.search.space import SearchSpace, is_fixed, parse_space
from tl_hpo.search.strategy import Step, Strategy, parse_strategy
from tl_hpo.search.warm_file import WARM_FILE, read_configurations
from tl_hpo.search.warm_start import check_warm_trials
from tl_hpo.training.checks import check_config
from tl_hpo.training.runner import LocalRunner

_OF_A_TRIAL = (
    "dataset", "split", "augment", "model", "optimizer", "head", "finetune", "delimiting_layer",
)  # fmt: skip
_PHASE_SETTINGS = ("optimizer@", "head.optimizer.", "finetune.optimizer.")


def command_line() -> list[str]:
    """Return the overrides that the user typed, of this job where it is one of a sweep."""
    return list(HydraConfig.get().overrides.task)


def make_plan(config: DictConfig, folder: Path) -> tuple[LocalRunner, Plan, DictConfig]:
    """Return what runs the trials, what the search is to do, and one of its possible trials.

    Raises:
        UserError: some trial of the experiment could not run.
    """
    resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    typed = command_line()
    fixed = [key_of(text) for text in typed]
    refuse_unfollowed_settings(fixed)
    search_path = user_search_path()
    strategy = parse_strategy(resolved["strategy"])
    plan = Plan(
        folder=folder,
        strategy=strategy,
        overrides=_shared_overrides(config, search_path, typed),
        fixed=fixed,
        models=group_options("model", search_path),
        sampler=resolved["sampler"],
        pruner=resolved["pruner"],
        seed=resolved["seed"],
        epochs=_epochs(resolved),
        **_search_settings(config, resolved),
        **_warm_start(resolved["search"], folder, strategy),
    )
    searched, _ = held_fixed(plan.strategy, fixed)
    runner = LocalRunner(search_path, config, vary_layer="delimiting_layer" in searched)
    _check_pruner(resolved, plan.epochs)
    return runner, plan, _check_trials(runner, plan, here=not runs_elsewhere(config))


def _epochs(resolved: Mapping[str, Any]) -> int | None:
    """Return the epochs of both phases together; None where they will be refused."""
    phases = [resolved[phase] for phase in ("head", "finetune")]
    epochs = [phase.get("epochs") if isinstance(phase, Mapping) else None for phase in phases]
    numbers = [n for n in epochs if isinstance(n, int) and n >= 0]
    return sum(numbers) if len(numbers) == len(phases) else None


def _search_settings(config: DictConfig, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``search`` says of limits and repeats.

    Raises:
        UserError: some of it makes no sense.
    """
    search = resolved["search"]
    return {
        "limits": Limits(
            search["max_hours"], search["min_improvement"], search["min_improvement_trials"]
        ),
        "repeats": Repeats(search["repeats"], search["repeat_best"], follow_the_seed(config)),
    }


def _warm_start(search: Mapping[str, Any], folder: Path, strategy: Strategy) -> dict[str, Any]:
    """Return what ``search`` says of earlier experiments.

    Raises:
        UserError: some of it makes no sense.
    """
    folders, trials = search["warm_start"], search["warm_trials"]
    if not isinstance(folders, list) or not all(isinstance(each, str) for each in folders):
        raise UserError(
            f"search.warm_start must be a list of run folders, got {folders!r}; "
            "for example 'search.warm_start=[runs/kvasir/shared]'."
        )
    check_warm_trials(trials)
    paths = [Path(each) for each in folders]
    return {
        "warm_start": earlier_configurations(paths, folder, strategy),
        "warm_folders": paths,
        "warm_trials": trials,
    }


def earlier_configurations(
    earlier: Sequence[Path], folder: Path, strategy: Strategy
) -> Sequence[Earlier]:
    """Return what an experiment in ``folder`` brings along: once begun, what it began with.

    Raises:
        UserError: it has no results yet, and an earlier folder cannot be read.
    """
    begun = bool(earlier) and has_results(folder, strategy)
    kept = read_configurations(folder / WARM_FILE) if begun else None
    return configurations(earlier) if kept is None else kept


def follow_the_seed(config: DictConfig) -> list[str]:
    """Return overrides that hold what follows ``seed`` in its place, such as the split.

    Trainings that are repeated with other seeds are to differ in nothing else.
    """
    return [
        override(key, config.seed)
        for key, value in leaves(config)
        if key.startswith(("dataset.", "split.")) and value == "${seed}"
    ]


def held_fixed(strategy: Strategy, fixed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the axes that are searched, and what the command line holds fixed instead."""
    axes = list(dict.fromkeys(key for step in strategy.steps for key in step.space))
    held = [key for key in axes if is_fixed(key, fixed)]
    searched = [key for key in axes if key not in held]
    phases = [key for key in fixed if key.startswith(_PHASE_SETTINGS) and key not in axes]
    return searched, held + phases


def _shared_overrides(config: DictConfig, search_path: list[str], typed: list[str]) -> list[str]:
    """Return what all trials share.

    What the user typed comes along word by word, even where it says what is usual: a searched
    optimizer would bring its own learning rate. A searched model brings its own name and layers.
    """
    fixed = [key_of(text) for text in typed]
    of_a_model = set() if is_fixed("model", fixed) else {"model.name", "model.n_layers"}
    said = [
        text
        for text in typed
        if key_of(text).split(".")[0].split("@")[0] in _OF_A_TRIAL and is_of_a_trial(key_of(text))
    ]
    shared = trial_overrides(config, search_path)
    return [text for text in merged(shared, said) if key_of(text) not in of_a_model]


def _check_pruner(resolved: Mapping[str, Any], epochs: int | None) -> None:
    make_pruner(resolved["pruner"], max_epochs=epochs)
    if resolved["pruner"].get("relative") and resolved["objective"] != "val_accuracy":
        raise UserError(
            "pruner.relative must go with objective=val_accuracy, for it compares with the share "
            f"of the largest class, got objective={resolved['objective']}; set "
            "pruner.relative=false or pruner=none."
        )


def _check_trials(runner: LocalRunner, plan: Plan, *, here: bool) -> DictConfig:
    """Check one trial for every value of every choice in all steps; return the first of them."""
    configs = [runner.compose(overrides) for overrides in _possible_trials(plan)]
    names = {config.model.name for config in configs}
    weights = configs[0].model.weights
    if len(names) > 1 and weights not in ("imagenet", "random"):
        raise UserError(
            f"model.weights must be imagenet or random where several models are searched, got "
            f"{weights!r}; choose its model, such as model=timm model.name=NAME."
        )
    for config in configs:
        check_config(config, here=here)
    return configs[0]


def _possible_trials(plan: Plan) -> Iterator[list[str]]:
    before: list[str] = []
    for step in plan.strategy.steps:
        space = parse_space(
            step.space,
            fixed=plan.fixed,
            given=merged(plan.overrides, before),
            models=plan.models,
            count_layers=lambda: 1,
        )
        _check_step(step, space, plan)
        local = [override(key, value) for key, value in step.overrides.items()]
        for point in _points(space):
            yield merged(plan.overrides, before, local, space.overrides(point))
        before = merged(before, space.overrides(next(_points(space))))


def _check_step(step: Step, space: SearchSpace, plan: Plan) -> None:
    check_axes(step, space)
    make_sampler(
        plan.sampler,
        space.distributions,
        plan.seed,
        conditions=space.conditions,
        usual=space.usual,
    )
    each = space.distributions.get(step.each) if step.each else None
    if isinstance(each, CategoricalDistribution) and step.trials < len(each.choices):
        raise UserError(
            f"the trials of step {step.name} must be at least one for each {step.each}, got "
            f"{step.trials} for {len(each.choices)}; set search.n_trials, or name fewer candidates."
        )


def _points(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Yield points of a space in which every choice of every axis occurs."""
    corner = {name: _first_value(axis) for name, axis in space.distributions.items()}
    yield corner
    for name, axis in space.distributions.items():
        if isinstance(axis, CategoricalDistribution):
            yield from (corner | {name: choice} for choice in axis.choices[1:])


def _first_value(axis: BaseDistribution) -> Any:
    return axis.choices[0] if isinstance(axis, CategoricalDistribution) else cast(Any, axis).low
