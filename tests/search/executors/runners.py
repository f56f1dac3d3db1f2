"""Runners of simulated trials that worker processes make by name."""

import logging
import os
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulated import SimulatedRunner, parsed

from tl_hpo.errors import UserError
from tl_hpo.memory import MemoryShortError
from tl_hpo.training.result import EpochRecord, Report, TrialResult

logger = logging.getLogger(__name__)


class Obedient(SimulatedRunner):
    """Does in a trial what its overrides say: sleep, fail, hang, hang once, be killed.

    Args:
        folder: where it notes which process ran which trial.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def run(
        self, overrides: Sequence[str], folder: Path, report: Report, *others: Any
    ) -> TrialResult:
        values = parsed(overrides)
        with (self._folder / "ran.txt").open("a") as file:
            file.write(f"{folder.name} {os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}\n")
        time.sleep(float(values.get("sleep", 0)))
        what = values.get("do", "")
        if what == "fail":
            raise ValueError("as asked")
        if what == "mistake":
            raise UserError("a rule must hold, got none; mend it.")
        if what == "log":
            logger.info("the %s of %d words", "1st", 2)
            logger.warning("the %s of %d words", "2nd", 2)
        if what == "need more" and int(values.get("batch_size", 32)) > 16:
            raise MemoryShortError("CUDA out of memory.", "there")
        if what == "hang":
            time.sleep(1000)
        once = self._folder / f"{folder.name}.killed"
        if what == "die" or (what == "die once" and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang once":
            report = hanging(report, self._folder / f"{folder.name}.hung")
        return super().run(overrides, folder, report, *others)


def hanging(report: Report, once: Path) -> Report:
    """Let a trial hang at its third epoch, the first time."""

    def go(record: EpochRecord) -> bool:
        if record.number == 3 and not once.exists():
            once.touch()
            time.sleep(1000)
        return report(record)

    return go


def make(folder: str) -> Obedient:
    return Obedient(Path(folder))


def make_limited(megabytes: int, arguments: dict[str, Any]) -> Any:
    """Return a runner of real trials that may take so much memory beyond what is taken now."""
    from tl_hpo.training.runner import make_runner

    runner = make_runner(**arguments)
    status = Path("/proc/self/status").read_text().splitlines()
    taken = next(int(line.split()[1]) for line in status if line.startswith("VmData:"))
    most = taken * 1024 + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
    return runner
