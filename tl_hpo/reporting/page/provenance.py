"""What it was made with: software, machine, seeds, times."""

from typing import Any

from tl_hpo.reporting.markdown import plain, table
from tl_hpo.reporting.page.rendering import Section, titled
from tl_hpo.reporting.page.words import duration
from tl_hpo.reporting.records import Run
from tl_hpo.reporting.settings import setting, settings_of

NOT_RECORDED = "not recorded"
SETTINGS = {
    "seed": "seed",
    "split": "split.kind",
    "split's seed": "split.seed",
    "image size": "image_size",
    "batch size": "batch_size",
    "precision": "precision",
    "sampler": "sampler.name",
    "pruner": "pruner.name",
}
"""What a configuration tells that others need to repeat the experiment, by its key."""


def provenance(run: Run) -> Section | None:
    """Return versions, seeds and times; what an older run folder lacks is said to be missing."""
    versions = [[plain(name), plain(value)] for name, value in run.experiment.versions.items()]
    return titled(
        "software",
        [
            "## Software, seeds and times",
            "What the last command of the experiment ran on:",
            table(["software", "version"], versions or [["all", NOT_RECORDED]]),
            "Settings:",
            table(["setting", "value"], _settings(run)),
            "Times:",
            table(["time", "value"], _times(run)),
        ],
    )


def _settings(run: Run) -> list[list[str]]:
    kept = settings_of(run)
    rows = [[name, _shown(setting(kept, key))] for name, key in SETTINGS.items()]
    return [row for row in rows if row[1]] or [["all", NOT_RECORDED]]


def _shown(value: Any) -> str:
    return "" if value is None else plain(str(value))


def _times(run: Run) -> list[list[str]]:
    started = sorted(trial.started for trial in run.trials if trial.started)
    seconds = sum(trial.seconds or 0.0 for trial in run.trials)
    whole = run.best.search_seconds if run.best else None
    return [
        ["first trial began", plain(started[0]) if started else NOT_RECORDED],
        ["last trial began", plain(started[-1]) if started else NOT_RECORDED],
        ["the experiment ran for", duration(whole) if whole else NOT_RECORDED],
        ["all trials together", duration(seconds)],
    ]
