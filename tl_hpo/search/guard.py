"""One run folder, one configuration: a changed one is refused with the difference shown."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tl_hpo.config import MACHINE, OF_FETCHING
from tl_hpo.errors import UserError
from tl_hpo.files import write_text

CONFIG_FILE = "config.yaml"
# Where results go, and how and where they are computed.
_IRRELEVANT = ("runs_dir", "name", "hydra", "audit", "progress", "executor", "study", *MACHINE)
_BUDGETS = ("max_hours",)  # of the search: an experiment may go on for longer
_SHOWN = 5


def guard_configuration(folder: Path, config: Mapping[str, Any], held: list[str]) -> None:
    """Keep ``config`` in the run folder, or compare it with the one that is kept there.

    Args:
        config: resolved, in plain containers.
        held: axes of the search that the command line holds fixed.

    Raises:
        UserError: they differ in what matters.
    """
    kept = folder / CONFIG_FILE
    present = {k: v for k, v in config.items() if k not in _IRRELEVANT}
    present["dataset"] = {k: v for k, v in present["dataset"].items() if k not in OF_FETCHING}
    if "search" in present:
        present["search"] = {k: v for k, v in present["search"].items() if k not in _BUDGETS}
    present["held_fixed"] = sorted(held)
    if not kept.exists():
        write_text(kept, OmegaConf.to_yaml(OmegaConf.create(present)))
        return
    past = read_configuration(kept)
    changes = list(differences(past, present))
    # A strategy's steps repeat settings of the search; those tell it all.
    changes = [text for text in changes if not text.startswith("strategy.steps.")] or changes
    if changes:
        more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        raise UserError(
            f"a run folder must be continued with the configuration it began with, got in "
            f"{folder}: {'; '.join(changes[:_SHOWN])}{more}; repeat the first command, "
            "set name=OTHER for an experiment of its own, or remove the folder."
        )


def read_configuration(path: Path) -> Any:
    """Return what a kept configuration says, in plain containers: nothing in it is resolved.

    Raises:
        UserError: it says more than that, or is no configuration.

    """
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"{path} must be as optimize.py wrote it, got {type(error).__name__}: {first}; "
            "restore it, or set name=OTHER for an experiment of its own."
        ) from error


def differences(past: Any, present: Any) -> Iterator[str]:
    """Yield ``key: then X, now Y`` for every value that differs."""
    old, new = dict(_flat(past)), dict(_flat(present))
    for key in sorted(old.keys() | new.keys(), key=lambda key: (key.startswith("strategy."), key)):
        if old.get(key) != new.get(key) or (key in old) != (key in new):
            yield f"{key}: then {old.get(key, 'absent')}, now {new.get(key, 'absent')}"


def _flat(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and any(isinstance(item, Mapping) for item in node):
        for index, value in enumerate(node):
            yield from _flat(value, f"{path}.{index}")
    else:
        yield path, node
