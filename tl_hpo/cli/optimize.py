"""One experiment, as optimize.py runs it: search, then tables and figures."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial

from tl_hpo.cli.audit import audit_split
from tl_hpo.cli.entry import run_folder
from tl_hpo.cli.execution import make_executor
from tl_hpo.cli.plan import held_fixed, make_plan
from tl_hpo.cli.sweeps import hide_passwords
from tl_hpo.cli.tell import tell_split
from tl_hpo.cli.versions import versions
from tl_hpo.cli.watching import draws_live, watched
from tl_hpo.config import config_dirs
from tl_hpo.data.split import write_split
from tl_hpo.data.split_file import split_rows
from tl_hpo.errors import UserError
from tl_hpo.files import (
    locked,
    read_csv,
    remove_leftovers,
    replacing,
    waiting_lock,
    write_json,
)
from tl_hpo.inference.speed import record_speed
from tl_hpo.reporting.leakage import AUDIT_FILE
from tl_hpo.reporting.page.report_page import REPORT_FILE
from tl_hpo.reporting.records import SideMetrics, read_run
from tl_hpo.reporting.report import write_report
from tl_hpo.search import backup
from tl_hpo.search.experiment import BEST_FILE, Experiment
from tl_hpo.search.guard import CONFIG_FILE, guard_configuration
from tl_hpo.search.importance import IMPORTANCE_FILE, importances, write_importance
from tl_hpo.search.repeats import Repeated
from tl_hpo.search.results import has_results
from tl_hpo.search.samplers.gpyopt import GPyOptSampler
from tl_hpo.search.sharing import SharedStorage, written_alone
from tl_hpo.search.slices import Slice
from tl_hpo.search.storages import open_shared_storage
from tl_hpo.search.stored import stored_overrides
from tl_hpo.search.strategy import Strategy
from tl_hpo.search.study import OVERRIDES, SETTINGS, STUDY_FILE, result_of
from tl_hpo.search.usual_axes import further_settings, short_value, told_once, values_along
from tl_hpo.training.loggers import open_logger
from tl_hpo.training.result import BEST_MODEL, PREDICTIONS_FILE
from tl_hpo.training.runner import LocalRunner
from tl_hpo.training.worker import TrialData

logger = logging.getLogger(__name__)

SPLIT_FILE = "split.csv"
EXPERIMENT_FILE = "experiment.json"
REPORT_LOCK = ".report.lock"


def optimize(config: DictConfig) -> None:
    """Run, or continue, the experiment that ``config`` describes and write its report."""
    folder = run_folder()
    study = config.study
    if study.storage is not None:
        hide_passwords()  # before a long search, not after it
        _optimize(config, folder, open_shared_storage(study.storage, folder, study.heartbeat))
        return
    with locked(folder):
        remove_leftovers(folder)
        backup.restore(folder / STUDY_FILE)
        _optimize(config, folder, None)


def _optimize(config: DictConfig, folder: Path, shared: SharedStorage | None) -> None:
    if not isinstance(config.audit, bool):
        raise UserError(f"audit must be true or false, got {config.audit!r}; leave it out.")
    draws_live(config)
    runner, plan, possible = make_plan(config, folder)
    searched, held = held_fixed(plan.strategy, plan.fixed)
    open_logger(config.logger)
    begun = _continue_or_begin(config, plan.strategy, folder, held, shared)
    data = runner.data(possible)
    if begun:
        _check_same_images(folder / SPLIT_FILE, data)
        _check_same_pixels(folder / EXPERIMENT_FILE, data)
    _describe_dataset(config, folder, plan.strategy, data)
    if config.audit:
        listed = replace(data.table, groups=data.own_groups)
        seen = runner.worker.fingerprints(listed)
        audit_split(folder, listed, data.split, seen, config.seed)
    logger.info("Searched: %s", ", ".join(searched) or "nothing")
    if held:
        logger.info("Held fixed by the command line: %s", ", ".join(held))
    with (
        closing(make_executor(config, runner, folder)) as executor,
        watched(config, plan, executor.workers) as watcher,
    ):
        experiment = Experiment(plan, runner, shared, executor, watcher)
        best = experiment.run()
    with waiting_lock(folder / REPORT_LOCK):  # others of the experiment find it done
        _report(experiment, runner, best, data.table.synthetic)


def _report(
    experiment: Experiment, runner: LocalRunner, best: FrozenTrial, synthetic: bool
) -> None:
    """Judge the best model on the test side, write what is to be read, and tell it."""
    folder = experiment.plan.folder
    logger.info("All steps have ended; measuring the best model and writing the report ...")
    with written_alone(experiment.storage, folder):
        remove_leftovers(folder)  # of workers that died
    trained = stored_overrides(best, OVERRIDES, experiment.plan)
    runner.test(trained, folder / BEST_MODEL)
    config = runner.compose(trained)
    accelerator = config.trainer.accelerator
    record_speed(folder / BEST_MODEL, accelerator, config.precision, config.batch_size)
    experiment.record()
    with replacing(folder / PREDICTIONS_FILE) as temporary:
        shutil.copyfile(folder / BEST_MODEL / PREDICTIONS_FILE, temporary)
    found = importances(experiment.studies, experiment.plan.seed)
    write_importance(folder / IMPORTANCE_FILE, found)
    write_report(folder, _slices(experiment))
    metrics = read_run(folder).metrics
    chosen = experiment.repeating.chosen()
    _tell_best(best, metrics.test if metrics else None, chosen, synthetic)
    _tell_further(experiment, best)
    _tell_repeats(chosen)
    _tell_files(folder)


def _continue_or_begin(
    config: DictConfig,
    strategy: Strategy,
    folder: Path,
    held: Sequence[str],
    shared: SharedStorage | None,
) -> bool:
    """Hold the run folder to one configuration and tell whether it has results already.

    One without any begins anew, unless others may have begun it a moment ago.
    """
    begun = has_results(folder, strategy, shared)
    if not begun and shared is None:
        backup.remove(folder / STUDY_FILE)
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        (folder / AUDIT_FILE).unlink(missing_ok=True)  # of what may have been another split
    resolved = cast(Mapping[str, Any], OmegaConf.to_container(config, resolve=True))
    with waiting_lock(folder / REPORT_LOCK, quiet=True):
        guard_configuration(folder, resolved, list(held))
    return begun


def _check_same_images(path: Path, data: TrialData) -> None:
    """Raise UserError unless images, classes and split are those that the experiment began with."""
    then = {row["path"]: row for row in read_csv(path)} if path.exists() else {}
    now = {row["path"]: row for row in split_rows(data.table, data.split)}
    both = then.keys() & now.keys()
    moved, relabelled = (
        sum(then[name][column] != now[name][column] for name in both)
        for column in ("side", "label")
    )
    new, gone = len(now.keys() - then.keys()), len(then.keys() - now.keys())
    if then and (new or gone or moved or relabelled):
        raise UserError(
            f"the images of an experiment must stay the same, got {new} new, {gone} gone, {moved} "
            f"on another side and {relabelled} of another class than in {path}; restore them, or "
            "set name=OTHER for an experiment of its own."
        )


def _check_same_pixels(path: Path, data: TrialData) -> None:
    """Raise UserError unless the images show what they showed when the experiment began."""
    then = json.loads(path.read_text(encoding="utf-8")).get("pixels") if path.exists() else None
    if then and then != data.checksum:
        raise UserError(
            f"the images of an experiment must stay the same, got other pixels than {path} "
            "remembers: files have changed, or are decoded by another version of Pillow; restore "
            "them, or set name=OTHER for an experiment of its own."
        )


def _describe_dataset(
    config: DictConfig, folder: Path, strategy: Strategy, data: TrialData
) -> None:
    table = data.table
    write_split(folder / SPLIT_FILE, table, data.split)
    write_json(
        folder / EXPERIMENT_FILE,
        {
            "dataset": table.name,
            "dataset_root": str(table.root),
            "strategy": strategy.name,
            "synthetic": table.synthetic,
            "classes": list(table.classes),
            "objective": config.objective,
            "pixels": data.checksum,
            "versions": versions(config.trainer.accelerator),
            "config_dirs": config_dirs(),
            "split": {
                "kind": config.split.kind,
                "lines": data.summary.lines(),
                "warnings": data.summary.warnings(),
                "warnings_without_names": data.summary.warnings(named=False),
                **data.summary.as_dict(),
            },
        },
    )
    kind = "synthetic images (phantom, for trying out only)" if table.synthetic else "images"
    logger.info("Dataset %s: %d %s in %d classes", table.name, len(table), kind, len(table.classes))
    tell_split(data.summary)


def _slices(experiment: Experiment) -> dict[str, list[Slice]]:
    """Return the model of every step that GPyOpt searched, for the acquisition plots."""
    return {
        name: study.sampler.slices(study)
        for name, study in experiment.studies.items()
        if isinstance(study.sampler, GPyOptSampler)
    }


def _tell_best(
    best: FrozenTrial, test: SideMetrics | None, chosen: Repeated | None, synthetic: bool
) -> None:
    settings, result = best.user_attrs[SETTINGS], result_of(best)
    where = "synthetic images" if synthetic else "the validation side, which the search tuned on"
    logger.info("")
    mean = f" (mean {_mean_of(chosen)})" if chosen else ""
    logger.info("Best configuration: accuracy %.4f%s on %s", result["val_accuracy"], mean, where)
    if test is not None:
        low, high = test.intervals["accuracy"]
        logger.info(
            "  on the test side      accuracy %.4f, 95 %% interval %.4f to %.4f",
            test.headline["accuracy"],
            low,
            high,
        )
    logger.info("  model                 %s", settings["model"])
    for phase, title in (("head", "classification block"), ("finetune", "fine-tuning")):
        logger.info(
            "  %-21s %s, learning rate %.3g",
            title,
            settings[f"{phase}_optimizer"],
            settings[f"{phase}_lr"],
        )
    logger.info("  delimiting layer      %d of %d", result["delimiting_layer"], result["n_layers"])


def _tell_further(experiment: Experiment, best: FrozenTrial) -> None:
    """Tell what the best configuration has of what is searched beyond the usual axes."""
    studies = experiment.studies.values()
    further = further_settings(trial for study in studies for trial in study.trials)
    (told,) = told_once([values_along(best, further)])
    for key, text in told.items():
        logger.info("  %-21s %s", key, short_value(text))


def _tell_repeats(chosen: Repeated | None) -> None:
    if chosen is not None:
        searched = result_of(chosen.candidate.trial)["val_accuracy"]
        logger.info(
            "  trained again         accuracy %s; %.4f in the search", _mean_of(chosen), searched
        )


def _mean_of(chosen: Repeated) -> str:
    """Return mean and spread of the trainings of what they chose."""
    spread = "" if chosen.sd_accuracy is None else f" ± {chosen.sd_accuracy:.4f}"
    return f"{chosen.mean_accuracy:.4f}{spread} over {chosen.n_completed} seeds"


def _tell_files(folder: Path) -> None:
    for title, name in (
        ("report", REPORT_FILE),
        ("summary", "summary.md"),
        ("best model", BEST_MODEL),
        ("how to repeat it", BEST_FILE),
        ("all trials", "trials.csv"),
        ("figures", "figures"),
    ):
        logger.info("  %-21s %s", title, folder / name)
