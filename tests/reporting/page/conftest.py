"""A small real experiment with its report, and a browser to look at it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tl_hpo.reporting.report import write_report

REPOSITORY = Path(__file__).resolve().parents[3]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SETTINGS = (
    "experiment=demo",
    "dataset.images_per_class=16",
    "dataset.classes=3",
    "image_size=32",
    "head.epochs=2",
    "finetune.epochs=2",
    "search.models=[test_resnet,test_efficientnet]",
    "search.n_trials=5",
    "search.layer_trials=4",
    "search.repeats=2",
    "search.repeat_best=1",
    "sampler=random",
    "executor=inline",
    "trainer.accelerator=cpu",
)


def run(*arguments):
    """Run a command of ours in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """Return the run folder of a small experiment on synthetic images."""
    runs = tmp_path_factory.mktemp("runs")
    told = run(str(REPOSITORY / "optimize.py"), *SETTINGS, f"runs_dir={runs}")
    folder = runs / "phantom" / "shared-demo"
    assert str(folder / "report.html") in told.stdout + told.stderr
    return folder


@pytest.fixture(scope="session")
def report(experiment):
    """Return the page of the experiment, made again from its files."""
    with pytest.MonkeyPatch.context() as patch:  # the command has drawn the figures
        patch.setattr("tl_hpo.reporting.figures.style.save", lambda *_: None)
        assert experiment / "report.html" in write_report(experiment)
    return experiment / "report.html"


@pytest.fixture(scope="session")
def browser():
    """Return headless Chromium, the one of the system."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # In containers Chromium is root, for which it has no sandbox.
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    """Return the folder for screenshots, which continuous integration names and keeps."""
    named = os.environ.get("TL_HPO_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
