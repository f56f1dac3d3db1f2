"""Commands as a user types them, run in this process or in one of their own."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib.figure import Figure

REPOSITORY = Path(__file__).resolve().parent.parent.parent

TINY = (
    "model.weights=random",
    "image_size=32",
    "batch_size=8",
    "head.epochs=1",
    "finetune.epochs=1",
    "trainer.accelerator=cpu",
    "search.models=[test_resnet,test_efficientnet]",
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def drawn() -> None:
    """Have the figures drawn: for tests that look at them."""


@pytest.fixture(autouse=True)
def _quick_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build figures but render none of those made in this process, which takes seconds."""

    def save(_: Figure, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"PNG")
        path.with_suffix(".svg").write_bytes(b"SVG")

    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("tl_hpo.reporting.figures.style.save", save)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """Run ``train``, ``optimize`` or ``predict`` with arguments, in ``tmp_path``, in this process.

    Trials run in it as well, unless the arguments choose an executor: a worker process spends
    more time on its imports than on most tests' trials.
    """

    def run(script: str, *arguments: str) -> Outcome:
        monkeypatch.chdir(tmp_path)
        executes = script == "optimize" and "--" not in " ".join(arguments)
        if executes and not any("executor" in text.split("=")[0] for text in arguments):
            arguments = (*arguments, "executor=inline")
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        spec = importlib.util.spec_from_file_location(script, REPOSITORY / f"{script}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, script, module)
        spec.loader.exec_module(module)
        code = 0
        try:
            module.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start ``python SCRIPT ARGUMENTS`` (or ``-m MODULE``) in ``tmp_path`` as its own process."""

    def go(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        what = script if script == "-m" else str(REPOSITORY / script)
        return subprocess.Popen(
            [sys.executable, what, *arguments],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(REPOSITORY)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return go


@pytest.fixture
def tiny() -> tuple[str, ...]:
    return TINY
