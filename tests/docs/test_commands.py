"""Every command of the documentation is run, or composed, or listed here with a reason."""

import contextlib
import importlib
import io
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from blocks import REPOSITORY, Command, blocks, commands

from tl_hpo.config import CONF_DIR, PREDICT_CONF_DIR, group_options, register_resolvers
from tl_hpo.search.space import parse_space
from tl_hpo.search.strategy import parse_strategy

# What makes a command short, unless it is about that: settings, by the command that takes them.
TINY = {
    "image_size": "64", "batch_size": "8", "head.epochs": "1", "finetune.epochs": "1",
    "model.weights": "random", "trainer.accelerator": "cpu",
}  # fmt: skip
SHORT = {
    "train.py": TINY,
    "optimize.py": {
        **TINY,
        **{"search.n_trials": "1", "search.layer_trials": "1", "executor": "inline"},
        **{"search.models": "[test_resnet]"},
    },
    "predict.py": {"trainer.accelerator": "cpu"},
    "tl_hpo.data.audit": {"image_size": "32"},
}
DRAWN = {"name=first", "tl_hpo.reporting", "explain=gradcam"}  # others' figures are not rendered
KEPT = ("executor", "search.models")  # where a command has them, it is about them
# Commands that cannot be run here, by how they begin or by a word of theirs, and why.
NOT_RUN = {
    "python3 -m venv": "installs; .ci/run does that with the README's",
    "source .venv/bin/activate": "of a shell",
    "pip install": "installs",
    ".venv/bin/pip install": "installs",
    ".venv-mlflow/bin": "in an environment of its own",
    ".venv/bin/pre-commit install": "changes the checkout",
    ".venv/bin/ruff": ".ci/run runs it",
    ".venv/bin/mypy": ".ci/run runs it",
    ".venv/bin/python -m pytest": "is this",
    "optuna-dashboard": "serves until it is ended; tests/cli/test_watching.py runs it",
    "ssh": "goes to another machine",
    "ray start": "serves until it is ended; tests/search/executors/test_ray_nodes.py runs it",
}
COMPOSED = {
    "experiment=demo": "takes minutes; .ci/run runs it",
    "executor.devices=[0,1,2]": "needs GPUs; tests/cli/test_several_devices.py",
    "executor.per_device=2": "needs GPUs; tests/cli/test_several_devices.py",
    "trainer.devices=2": "needs GPUs; tests/cli/test_several_devices.py runs it on the CPU",
    "study.storage=postgresql://USER:PASSWORD@HOST/DATABASE":
        "needs a server; tests/cli/test_shared_storage.py",
    "executor=ray": "tests/cli/test_ray.py",
    "executor=slurm": "needs a cluster; tests/cli/test_slurm.py",
    "hydra/launcher=submitit_slurm": "needs a cluster; tests/cli/test_slurm.py",
    "experiment=paper_kvasir": "needs the images of Kvasir",
    "experiment=paper_nerthus": "needs the images of Nerthus",
}  # fmt: skip
# What each command of this project composes: the folder of its configuration, and its name.
ENTRY_POINTS = {
    "optimize.py": (CONF_DIR, "optimize"),
    "train.py": (CONF_DIR, "train"),
    "predict.py": (PREDICT_CONF_DIR, "predict"),
    "tl_hpo.data.audit": (CONF_DIR, "audit"),
}


def _begins(command: Command, beginnings) -> str | None:
    text = " ".join(command.words)
    return next((each for each in beginnings if text.startswith(each)), None)


def _arguments(command: Command) -> tuple[str, list[str]] | None:
    """Return script or module and its arguments, of a command of this project's own."""
    python, *words = command.words
    if python not in ("python", ".venv/bin/python") or not words:
        return None
    return (words[1], words[2:]) if words[0] == "-m" else (words[0], words[1:])


OWN = [c for c in commands() if _arguments(c) and not _begins(c, NOT_RUN)]
COMPOSED_ONLY = [c for c in OWN if set(c.words) & set(COMPOSED)]
BENCH = [c for c in OWN if _arguments(c)[0].startswith("bench.")]
RUN = [c for c in OWN if c not in COMPOSED_ONLY and c not in BENCH]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which everything that the documentation speaks of is there."""
    folder = tmp_path_factory.mktemp("docs")
    generator = np.random.default_rng(0)
    rows = ["file,finding,patient"]
    for index, name in enumerate(("polyp", "normal")):
        (folder / "my_images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[..., index] += 120
            Image.fromarray(pixels).save(folder / "my_images" / name / f"{number}.png")
            rows.append(f"{name}/{number}.png,{name},{number // 2 + 10 * index}")
    shutil.copytree(folder / "my_images" / "polyp", folder / "new_images")
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 30), "red").save(folder / name)
    (folder / "images.csv").write_text("\n".join(rows), encoding="utf-8")
    for page, content in blocks("yaml"):
        head = content.splitlines()[0]
        assert head.startswith("# my_conf/"), f"{page}: a block must name its file, got {head!r}"
        path = folder / head.removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_every_command_is_run_or_composed_or_listed_with_a_reason():
    known = {*RUN, *COMPOSED_ONLY, *BENCH}
    left = [str(c) for c in commands() if c not in known and not _begins(c, NOT_RUN)]
    assert not left, "neither run nor composed nor listed:\n" + "\n".join(left)


@pytest.mark.parametrize("beginning", NOT_RUN)
def test_what_is_listed_is_in_the_documentation(beginning):
    assert any(_begins(command, [beginning]) for command in commands())


@pytest.mark.parametrize("word", COMPOSED)
def test_what_is_only_composed_is_in_the_documentation(word):
    assert any(word in command.words for command in COMPOSED_ONLY)


@pytest.mark.parametrize("command", COMPOSED_ONLY, ids=str)
def test_a_command_composes(command, place, monkeypatch):
    """All its groups and settings exist; strategies and their search spaces make sense."""
    monkeypatch.chdir(place)
    register_resolvers()
    script, arguments = _arguments(command)
    folder, name = ENTRY_POINTS[script]
    for overrides in _jobs(arguments):
        with initialize_config_dir(str(folder), version_base="1.3"):
            config = compose(name, overrides=overrides, return_hydra_config=True)
        own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        resolved = OmegaConf.to_container(own, resolve=True)
        if script == "optimize.py":
            for step in parse_strategy(resolved["strategy"]).steps:
                models = group_options("model")
                parse_space(step.space, models=models, count_layers=lambda: 10)


def _jobs(arguments):
    """Yield the overrides of every job that the arguments ask for."""
    arguments, sweeps = list(arguments), "-m" in arguments
    if sweeps:
        arguments.remove("-m")
    if "--config-dir" in arguments:
        index = arguments.index("--config-dir")
        arguments[index : index + 2] = [
            f"hydra.searchpath=[file://{Path(arguments[index + 1]).absolute()}]"
        ]
    if not sweeps:
        return [arguments]
    of_hydra = [text for text in arguments if text.startswith("hydra")]
    parsed = OverridesParser.create().parse_overrides([a for a in arguments if a not in of_hydra])
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [[*of_hydra, *job] for job in jobs]


@pytest.mark.parametrize("command", BENCH, ids=str)
def test_a_benchmark_takes_its_options(command, monkeypatch):
    """It comes as far as its options; whatever it does then is replaced by the end."""
    module, arguments = _arguments(command)

    class ParsedError(Exception):
        pass

    import argparse

    parse = argparse.ArgumentParser.parse_args

    def parsed(self, *others):
        parse(self, *others)
        raise ParsedError

    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    with pytest.raises(ParsedError):
        importlib.import_module(module).main(arguments)


@pytest.mark.slow
def test_the_others_run_one_after_another(place, monkeypatch):
    """As somebody would type them who reads all pages, in one folder, but for their length."""
    monkeypatch.chdir(place)
    ran = set()
    for command in RUN:
        if command.words not in ran:
            with monkeypatch.context() as patch:
                if not set(command.words) & DRAWN:
                    patch.setattr("tl_hpo.reporting.figures.style.save", _instead_of_a_figure)
                code, told = _run(command, patch)
            assert code == 0, f"{command}\n{told}"
        ran.add(command.words)
    for path in (
        "runs/folder/shared-first/best_model/model.safetensors",
        "runs/folder/shared-first/figures/confusion_matrix.png",
        "runs/csv/shared/best.json",
        "runs/folder/depth_first/best.json",
        "runs/folder/shared-folds-fold4/report.html",
        "runs/folder/shared-repeated/repeats.csv",
        "runs/folder/audit/audit.md",
        "runs/comparison.html",
        "predictions.csv",
        "predictions.gradcam",
        "runs/folder/shared-first/best_model/model.onnx",
        "runs/folder/shared-first/best_model/model.torchscript",
    ):
        assert Path(path).stat().st_size > 0
    for _, content in blocks("python"):
        names: dict[str, object] = {}
        exec(content, names)
        assert len(names["probabilities"]) == 2


def _instead_of_a_figure(_, path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"PNG")
    path.with_suffix(".svg").write_bytes(b"SVG")


def _shortened(command):
    """Return the arguments of a command, and what makes it short."""
    name, arguments = _arguments(command)
    given = {text.partition("=")[0] for text in arguments}
    short = {
        key: value
        for key, value in SHORT.get(name, {}).items()
        if key not in KEPT or not any(each.startswith(key) for each in given)
    }
    if "model" in given:
        short.pop("search.models", None)
    return [*arguments, *(f"{key}={value}" for key, value in short.items())]


def _run(command, monkeypatch):
    """Run a command in this process; return its exit code and what it wrote to standard error."""
    name, _ = _arguments(command)
    script = REPOSITORY / name
    monkeypatch.setattr(sys, "argv", [str(script), *_shortened(command)])
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            if script.is_file():
                runpy.run_path(str(script), run_name="__main__")
            else:
                runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as exit_:
        return int(exit_.code or 0), told.getvalue()
    return 0, told.getvalue()
