"""Configuration: where it lies, how trials are composed, and what repeats them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tl_hpo.overrides import override

CONF_DIR = Path(__file__).resolve().parent.parent / "conf"
PREDICT_CONF_DIR = CONF_DIR / "predict"  # of its own, without groups: its `model` is a path

# What the trial itself does not depend on, so that it never enters a trial's overrides.
MACHINE = ("trainer", "store", "reuse", "logger")  # how and where it is computed, and watched
# Of a dataset: where it comes from when it is absent; which images it has does not depend on that.
OF_FETCHING = ("download", "url", "sha256")
_FETCHING = frozenset(f"dataset.{key}" for key in OF_FETCHING)
_NOT_OF_A_TRIAL = frozenset({"runs_dir", "name", "hydra", "save_model", "measure_test", *MACHINE})


def register_resolvers() -> None:
    """Teach OmegaConf the resolvers that conf/ uses; safe to call again."""
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)


def _run_name(strategy: str, name: Any, fold: Any = None) -> str:
    """Return the folder of an experiment; every fold of a split has one of its own."""
    named = strategy if name in (None, "") else f"{strategy}-{name}"
    is_fold = isinstance(fold, int) and not isinstance(fold, bool)  # else it will be refused
    return f"{named}-fold{fold}" if is_fold else named


def group_options(group: str, search_path: Sequence[str] = ()) -> list[str]:
    """Return the names of the configs in a group of conf/ and of further config folders."""
    folders = [CONF_DIR, *(Path(entry.removeprefix("file://")) for entry in search_path)]
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def user_search_path() -> list[str]:
    """Return the config folders that the user added to the running Hydra job."""
    known = {"hydra", "main", "schema"}
    sources = HydraConfig.get().runtime.config_sources
    return [
        f"file://{source.path}"
        for source in sources
        if source.provider not in known and source.schema == "file"
    ]


def config_dirs() -> list[str]:
    """Return the user's config folders as a command would name them that is typed here."""
    here = Path.cwd()
    folders = [Path(entry.removeprefix("file://")) for entry in user_search_path()]
    return [str(f.relative_to(here) if f.is_relative_to(here) else f) for f in folders]


def compose_trial(overrides: Sequence[str], search_path: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration that ``python train.py OVERRIDES`` would run."""
    register_resolvers()
    extra = [f"hydra.searchpath=[{','.join(search_path)}]"] if search_path else []
    with _beside_a_running_job(), initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("train", overrides=[*overrides, *extra])


@contextmanager
def _beside_a_running_job() -> Iterator[None]:
    """Set Hydra's global state aside: it composes for one application at a time."""
    state = GlobalHydra.instance()
    running = state.hydra
    state.hydra = None
    try:
        yield
    finally:
        state.hydra = running


def trial_overrides(config: DictConfig, search_path: Sequence[str] = ()) -> list[str]:
    """Return the overrides of train.py that repeat the trial settings of ``config``.

    ``config`` is a composed optimize.yaml of the running Hydra job. The list holds the chosen
    groups and every value that differs from what these groups say, so it stands on its own,
    whatever presets ``config`` was built from.
    """
    choices = _group_choices()
    usual = dict(leaves(compose_trial(choices, search_path)))
    of_a_trial = {key.split(".")[0] for key in usual} - _NOT_OF_A_TRIAL
    return choices + [
        override(key if key in usual else f"+{key}", value)
        for key, value in leaves(config)
        if is_of_a_trial(key)
        and key.split(".")[0] in of_a_trial
        and (key not in usual or value != usual[key])
    ]


def is_of_a_trial(key: str) -> bool:
    """Tell whether a trial may depend on a setting; on where images are fetched it does not."""
    return key not in _FETCHING


def _group_choices() -> list[str]:
    chosen = dict(HydraConfig.get().runtime.choices)
    groups = ["dataset", "split", "augment", "model", "optimizer"]
    result = [override(group, chosen[group]) for group in groups]
    for phase in ("head", "finetune"):
        group = f"optimizer@{phase}.optimizer"
        if chosen[group] != chosen["optimizer"]:
            result.append(override(group, chosen[group]))
    return result


def leaves(config: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield every value with its dotted key; interpolations stay text."""

    def walk(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, Mapping) and node:
            for key, value in node.items():
                yield from walk(value, f"{path}.{key}" if path else str(key))
        else:
            yield path, node

    return walk(OmegaConf.to_container(config, resolve=False), "")
