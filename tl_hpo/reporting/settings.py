"""What the configuration of a run folder tells of how it was made."""

from collections.abc import Mapping
from typing import Any

from tl_hpo.errors import UserError
from tl_hpo.reporting.records import Run
from tl_hpo.search.guard import CONFIG_FILE, read_configuration


def settings_of(run: Run) -> Any:
    """Return the configuration that the run folder keeps, plain; empty if there is none to read.

    A report of all else is worth more than none, so a damaged one counts as not recorded.
    """
    path = run.folder / CONFIG_FILE
    try:
        return read_configuration(path) if path.is_file() else {}
    except UserError:
        return {}


def setting(settings: Any, key: str) -> Any:
    """Return the value at a key like ``sampler.name``, None where there is no such."""
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings
