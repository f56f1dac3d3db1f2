"""Runs trials in worker processes of this machine, each with a device of its own."""

import logging
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tl_hpo import processes
from tl_hpo.memory import MemoryShortError, oom_kills
from tl_hpo.search.executors.base import StoppedError, WorkerDiedError
from tl_hpo.search.executors.slots import Slot
from tl_hpo.search.executors.wire import (
    Answer,
    Done,
    Ended,
    Epoch,
    Failed,
    Judged,
    Log,
    Ready,
    Run,
    Setup,
    Stop,
)
from tl_hpo.training.result import KeepModel, Report, TrialResult

WORKER = "tl_hpo.search.executors.worker"
SECONDS_TO_END = 10.0  # for a worker whose connection has been closed


class ProcessExecutor:
    """Runs trials in worker processes, which stay warm between them; one that died is replaced.

    Args:
        setup: what every trial needs, by the worker's slot.
        slots: a place for each worker.

    """

    def __init__(self, setup: Callable[[Slot], Setup], slots: Sequence[Slot]) -> None:
        self._setup = setup
        self._slots = list(slots)
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._processes: dict[int, WorkerProcess] = {}
        self._guard = threading.Lock()
        self._stopping = False
        for number in range(len(self._slots)):
            self._free.put(number)

    @property
    def workers(self) -> int:
        """How many trials may run at the same time."""
        return len(self._slots)

    def run(
        self, overrides: Sequence[str], folder: Path, report: Report, keep_model: KeepModel
    ) -> TrialResult:
        """Run one trial on a free worker; see `Executor.run`."""
        number = self._free.get()
        try:
            return self._worker(number).run(overrides, folder, report, keep_model)
        except (WorkerDiedError, MemoryShortError):
            if self._stopping:
                raise StoppedError from None
            raise
        finally:
            self._free.put(number)

    def _worker(self, number: int) -> "WorkerProcess":
        with self._guard:
            if self._stopping:
                raise StoppedError
            process = self._processes.get(number)
            if process is None or not process.is_alive():
                slot = self._slots[number]
                process = WorkerProcess(self._setup(slot), slot.environment(os.environ))
                self._processes[number] = process
            return process

    def stop(self) -> None:
        """Let running trials end at their next batch."""
        with self._guard:
            self._stopping = True
            for process in self._processes.values():
                process.stop()

    def kill(self) -> None:
        """End running trials at once."""
        with self._guard:
            self._stopping = True
            for process in self._processes.values():
                process.kill()

    def close(self) -> None:
        """End the worker processes."""
        with self._guard:
            self._stopping = True
            processes, self._processes = list(self._processes.values()), {}
        for process in processes:
            process.close()


class WorkerProcess:
    """A process that runs one trial after another.

    Args:
        setup: what every trial needs.
        environment: of the process.

    """

    def __init__(self, setup: Setup, environment: dict[str, str]) -> None:
        self._process, socket = processes.start(WORKER, environment)
        self._connection = Connection(socket)
        self._sending = threading.Lock()
        self._oom_kills = oom_kills()
        self._say(setup)

    def is_alive(self) -> bool:
        """Tell whether it can be given a trial."""
        return self._process.poll() is None and not self._connection.closed

    def run(
        self, overrides: Sequence[str], folder: Path, report: Report, keep_model: KeepModel
    ) -> TrialResult:
        """Run one trial; see `Executor.run`."""
        self._oom_kills = oom_kills()
        self._say(Run(list(overrides), folder))
        while True:
            message = self._receive()
            if isinstance(message, Epoch):
                self._say(Answer(report(message.record)))
            elif isinstance(message, Judged):
                self._say(Answer(keep_model(message.result)))
            elif isinstance(message, Done):
                return message.result
            elif isinstance(message, Ended):
                raise StoppedError
            elif isinstance(message, Failed):
                raise message.error()
            elif isinstance(message, Log):
                logging.getLogger(message.name).log(message.level, "%s", message.text)
            else:
                assert isinstance(message, Ready)

    def stop(self) -> None:
        """Let the trial that runs end at its next batch."""
        with suppress(WorkerDiedError, MemoryShortError):
            self._say(Stop())

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def close(self) -> None:
        """End the process, which no trial needs any more, and wait for it."""
        self._connection.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, message: Any) -> None:
        try:
            with self._sending:
                self._connection.send(message)
        except OSError as error:
            raise self._died() from error

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error

    def _died(self) -> WorkerDiedError | MemoryShortError:
        self.close()
        code = self._process.returncode
        told = f"its worker process {self._process.pid} ended with {processes.ending(code)}"
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return MemoryShortError(f"{told}, as the system does for lack of memory")
        return WorkerDiedError(told)
