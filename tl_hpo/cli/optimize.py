"""One experiment, as optimize.py runs it: search, then tables and figures."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from tl_hpo.cli.entry import run_folder
from tl_hpo.config import group_options, trial_overrides, user_search_path
from tl_hpo.data.split import write_split
from tl_hpo.files import write_json
from tl_hpo.models.backbone import check_known
from tl_hpo.overrides import key_of, merged
from tl_hpo.reporting.report import write_report
from tl_hpo.search.experiment import BEST_FILE, BEST_MODEL, Experiment, Plan, has_results
from tl_hpo.search.guard import CONFIG_FILE, guard_configuration
from tl_hpo.search.samplers.gpyopt import GPyOptSampler
from tl_hpo.search.slices import Slice
from tl_hpo.search.space import is_fixed, parse_space
from tl_hpo.search.strategy import Strategy, parse_strategy
from tl_hpo.search.study import SETTINGS, result_of
from tl_hpo.training.runner import LocalRunner
from tl_hpo.training.trial import TrialData, check_config, input_size, load_data

logger = logging.getLogger(__name__)


def optimize(config: DictConfig) -> None:
    """Run, or continue, the experiment that ``config`` describes and write its report."""
    folder = run_folder()
    resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    strategy = parse_strategy(resolved["strategy"])
    fixed = [key_of(text) for text in HydraConfig.get().overrides.task]
    runner, plan = make_plan(config, resolved, strategy, folder, fixed)
    possible = first_trials(runner, plan)
    for trial in possible:
        check_config(trial)
    axes = dict.fromkeys(key for step in strategy.steps for key in step.space)
    held = [key for key in axes if is_fixed(key, fixed)]
    _continue_or_begin(folder, strategy, resolved, held)
    data = load_data(possible[0], input_size(possible[0]))
    _describe_dataset(folder, strategy, data)
    logger.info("Searched: %s", ", ".join(key for key in axes if key not in held) or "nothing")
    if held:
        logger.info("Held fixed by the command line: %s", ", ".join(held))
    experiment = Experiment(plan, runner)
    best = experiment.run()
    shutil.copyfile(folder / BEST_MODEL / "predictions.csv", folder / "predictions.csv")
    write_report(folder, _slices(experiment))
    _tell_best(folder, best, data.table.synthetic)


def make_plan(
    config: DictConfig,
    resolved: Mapping[str, Any],
    strategy: Strategy,
    folder: Path,
    fixed: list[str],
) -> tuple[LocalRunner, Plan]:
    """Return what runs the trials, and what the search is to do."""
    search_path = user_search_path()
    models = group_options("model", search_path)
    _check_candidates(resolved["search"]["models"], models)
    plan = Plan(
        folder=folder,
        strategy=strategy,
        overrides=_base_overrides(config, search_path, fixed),
        fixed=fixed,
        models=models,
        sampler=resolved["sampler"],
        pruner=resolved["pruner"],
        seed=resolved["seed"],
    )
    return LocalRunner(search_path, config.trainer), plan


def _base_overrides(config: DictConfig, search_path: list[str], fixed: list[str]) -> list[str]:
    """Return what all trials share; a searched model brings its own name and layers."""
    of_a_model = set() if is_fixed("model", fixed) else {"model.name", "model.n_layers"}
    return [text for text in trial_overrides(config, search_path) if key_of(text) not in of_a_model]


def _check_candidates(candidates: Any, models: list[str]) -> None:
    """Raise UserError for a candidate that is neither a config's name nor timm's."""
    for name in candidates or ():
        if name not in models:
            check_known(str(name))


def first_trials(runner: LocalRunner, plan: Plan) -> list[DictConfig]:
    """Return the configuration of one possible trial of the first step for every model in it."""
    axes = plan.strategy.steps[0].space
    space = parse_space(axes, fixed=plan.fixed, models=plan.models, count_layers=lambda: 1)
    corner = {name: _first_value(axis) for name, axis in space.distributions.items()}
    model_axis = space.distributions.get("model")
    models = model_axis.choices if isinstance(model_axis, CategoricalDistribution) else [None]
    points = [corner | ({} if model is None else {"model": model}) for model in models]
    return [runner.compose(merged(plan.overrides, space.overrides(point))) for point in points]


def _first_value(axis: BaseDistribution) -> Any:
    return axis.choices[0] if isinstance(axis, CategoricalDistribution) else cast(Any, axis).low


def _continue_or_begin(
    folder: Path, strategy: Strategy, resolved: Mapping[str, Any], held: list[str]
) -> None:
    """Hold the run folder to one configuration; one without any result begins anew."""
    if not has_results(folder, strategy):
        (folder / "study.db").unlink(missing_ok=True)
        (folder / CONFIG_FILE).unlink(missing_ok=True)
    guard_configuration(folder, resolved, held)


def _describe_dataset(folder: Path, strategy: Strategy, data: TrialData) -> None:
    table = data.table
    write_split(folder / "split.csv", table, data.split)
    write_json(
        folder / "experiment.json",
        {
            "dataset": table.name,
            "dataset_root": str(table.root),
            "strategy": strategy.name,
            "synthetic": table.synthetic,
            "classes": list(table.classes),
        },
    )
    kind = "synthetic images (phantom, for trying out only)" if table.synthetic else "images"
    logger.info(
        "Dataset %s: %d %s in %d classes, %d to train on, %d to validate on",
        table.name,
        len(table.labels),
        kind,
        len(table.classes),
        len(data.split.train),
        len(data.split.validation),
    )


def _slices(experiment: Experiment) -> dict[str, list[Slice]]:
    """Return the model of every step that GPyOpt searched, for the acquisition plots."""
    return {
        name: study.sampler.slices(study)
        for name, study in experiment.studies.items()
        if isinstance(study.sampler, GPyOptSampler)
    }


def _tell_best(folder: Path, best: FrozenTrial, synthetic: bool) -> None:
    settings, result = best.user_attrs[SETTINGS], result_of(best)
    where = "synthetic images" if synthetic else "the validation side, which the search tuned on"
    logger.info("")
    logger.info("Best configuration: accuracy %.4f on %s", result["val_accuracy"], where)
    logger.info("  model                 %s", settings["model"])
    for phase, title in (("head", "classification block"), ("finetune", "fine-tuning")):
        logger.info(
            "  %-21s %s, learning rate %.3g",
            title,
            settings[f"{phase}_optimizer"],
            settings[f"{phase}_lr"],
        )
    logger.info("  delimiting layer      %d of %d", result["delimiting_layer"], result["n_layers"])
    for title, name in (
        ("summary", "summary.md"),
        ("best model", BEST_MODEL),
        ("how to repeat it", BEST_FILE),
        ("all trials", "trials.csv"),
        ("figures", "figures"),
    ):
        logger.info("  %-21s %s", title, folder / name)
