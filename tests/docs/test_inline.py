"""What stands within sentences and tables: settings, files and modules must be there."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

sys.path.insert(0, str(Path(__file__).parent))

from blocks import REPOSITORY, inline

CONF = REPOSITORY / "conf"
GROUPS = {path.name: path for path in CONF.iterdir() if path.is_dir() and path.name != "predict"}
OTHERS = {  # key=value that is no setting of ours, and whose it is
    "requires_grad": "torch",
    "RAY_AUTH_MODE": "Ray",
    "TERM": "the terminal",
    "NO_COLOR": "rich",
    "TL_HPO_SCREENSHOTS": "an environment variable of the tests",
    "mode": "SQLite",
    "cost_exponent": "told for short after sampler.cost_exponent",
}
PLACEHOLDER = re.compile(r"[A-Z]{3,}|…")
OF_THE_READER = (
    "runs/", "best_model/", "figures/", "trials/", "my_conf/", "predictions.gradcam/",
    "tl_hpo_logs/",
)  # fmt: skip
ROOTS = (REPOSITORY, REPOSITORY / "tl_hpo", REPOSITORY / "tl_hpo" / "reporting")


def keys_of(path: Path, prefix: str) -> set[str]:
    """Return the dotted keys that a file of conf/ sets, those of its parts included."""
    found: set[str] = set()

    def walk(node, place):
        for key in node:
            name = f"{place}.{key}" if place else str(key)
            found.add(name)
            if isinstance(node._get_node(key), DictConfig):
                walk(node[key], name)

    walk(OmegaConf.load(path), prefix)
    return found


KEYS = set().union(
    *(keys_of(path, "") for path in CONF.glob("*.yaml")),
    *(keys_of(path, "") for path in (CONF / "predict").glob("*.yaml")),
    *(keys_of(path, group) for group, at in GROUPS.items() for path in at.glob("*.yaml")),
)


def settings():
    """Return (page, key, value) of every KEY=VALUE in the text, once."""
    found = {}
    for page, text in inline():
        if "=" not in text or "://" in text.partition("=")[0]:
            continue
        for word in shlex.split(text):
            key, equals, value = word.partition("=")
            if equals and re.fullmatch(r"\+?[A-Za-z_.]+", key) and key not in OTHERS:
                found[page, key, value] = None
    return list(found)


@pytest.mark.parametrize(("page", "key", "value"), settings())
def test_a_setting_is_there(page, key, value):
    if PLACEHOLDER.search(key) or key.startswith("hydra."):
        return
    if key not in GROUPS:
        wanted = key.rpartition(".")[0].lstrip("+") if key.startswith("+") else key
        assert wanted in KEYS, f"{page}: {key}"
        return
    options = {path.stem for path in GROUPS[key].glob("*.yaml")} | {"false"}
    named = [each for each in value.split(",") if each and not PLACEHOLDER.search(each)]
    if key == "model" and value.startswith("RUN"):
        return
    assert set(named) <= options, f"{page}: {key}={value}"


def paths():
    """Return (page, path) of every file or folder of this repository in the text, once."""
    suffixes = (".py", ".yaml", ".md", ".json", ".parquet", "/")
    return list(
        dict.fromkeys(
            (page, text)
            for page, text in inline()
            if "/" in text and text.endswith(suffixes) and re.fullmatch(r"[a-z_0-9./]+", text)
        )
    )


@pytest.mark.parametrize(("page", "path"), paths())
def test_a_path_is_there(page, path):
    there = any((root / path).exists() for root in ROOTS)
    assert there or path.startswith(OF_THE_READER) or path == "data/", f"{page}: {path}"


def test_modules_are_there():
    for page, text in inline():
        for module in re.findall(r"python -m ([\w.]+)", text):
            known = PLACEHOLDER.search(module) or importlib.util.find_spec(module)
            assert known, f"{page}: {module}"
