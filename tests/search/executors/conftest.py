"""Executors over worker processes that run simulated trials."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tl_hpo.search.executors.local import ProcessExecutor
from tl_hpo.search.executors.slots import Slot
from tl_hpo.search.executors.wire import Setup

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Callable[[int], ProcessExecutor]]:
    """Return an executor with so many workers; it is closed after the test."""
    made = []

    def go(workers: int) -> ProcessExecutor:
        setup = Setup("runners:make", {"folder": str(tmp_path)}, [str(HERE), str(HERE.parent)])
        slots = [Slot((), 1 / workers, 1) for _ in range(workers)]
        made.append(ProcessExecutor(lambda slot: setup, slots))
        return made[-1]

    yield go
    for each in made:
        each.close()


@pytest.fixture
def ran(tmp_path: Path) -> Callable[[], list[tuple[str, int, str]]]:
    """Return trial, process and visible GPUs of every run."""

    def go() -> list[tuple[str, int, str]]:
        lines = (tmp_path / "ran.txt").read_text().splitlines()
        rows = [line.split(" ") for line in lines]
        return [(name, int(pid), seen) for name, pid, seen in rows]

    return go


@pytest.fixture
def start_holder(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Return a process that holds an executor, and the process of its worker, in a trial."""
    code = f"""
import subprocess
import sys
import time
sys.path[:0] = {[str(HERE), str(HERE.parent)]!r}
from pathlib import Path
from tl_hpo.search.executors.local import ProcessExecutor
from tl_hpo.search.executors.slots import Slot
from tl_hpo.search.executors.wire import Setup
setup = Setup("runners:make", {{"folder": {str(tmp_path)!r}}}, sys.path)
executor = ProcessExecutor(lambda slot: setup, [Slot((), 1.0, 1)])
trial = ["model=vgg16", "optimizer=adam", "optimizer.lr=0.01", "+do=hang"]
executor.run(trial, Path({str(tmp_path / "trial")!r}), lambda record: False, lambda result: True)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], text=True)
    ran = tmp_path / "ran.txt"
    for _ in range(1500):
        if ran.exists() and ran.read_text().endswith("\n"):
            break
        time.sleep(0.02)
    yield holder, int(ran.read_text().split()[1])
    holder.kill()
    holder.wait()
