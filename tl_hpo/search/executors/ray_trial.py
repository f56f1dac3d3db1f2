"""The part of a trial that runs in a worker process of Ray, on any node of the cluster.

Ray runs the tasks of an experiment in processes that it uses again and again: the runner of one
trial waits there, warm, for the next.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from tl_hpo.errors import UserError
from tl_hpo.search.executors.wire import Done, Ended, Failed, Run, Setup
from tl_hpo.search.executors.worker import Interrupts, forward_logs, outcome_of
from tl_hpo.search.runner import Runner

SECONDS_TO_SEE = 5.0  # that a file system over the network may take to show a new file


@dataclass(frozen=True)
class Job:
    """One trial.

    Attributes:
        key: of its box.
        overrides, folder: see `Executor.run`.
        token: a file in ``folder`` that every node must see.
        home: the driver's working folder, which relative paths are meant from.

    """

    key: str
    overrides: list[str]
    folder: Path
    token: Path
    home: Path


@dataclass(frozen=True)
class Begun:
    """The trial runs: in that process of that machine."""

    host: str
    process: int


@dataclass(frozen=True)
class Misplaced:
    """The trial got a process that another GPU belongs to; the process ends."""


@dataclass(frozen=True)
class _Warm:
    setup: Setup
    gpus: list[Any]
    runner: Runner


_warm: _Warm | None = None


def run_trial(setup: Setup, job: Job, mailbox: Any) -> Done | Failed | Ended:
    """Run one trial and return what became of it."""
    line = _Line(mailbox, job.key)
    interrupts = Interrupts()
    with _stoppable(line), forward_logs(line.tell, leave_out="ray"):  # its own would go in circles
        line.tell(Begun(socket.gethostname(), os.getpid()))
        if _warm is not None and _warm.gpus != ray.get_gpu_ids():
            line.tell(Misplaced())
            sys.exit(0)

        def make() -> Runner:
            _check_seen(job)
            return _runner(setup, job.home)

        return outcome_of(interrupts, make, Run(list(job.overrides), job.folder), line.ask)


def _runner(setup: Setup, home: Path) -> Runner:
    """Return the runner that this process keeps for ``setup``."""
    global _warm
    if _warm is None or _warm.setup != setup:
        _warm = None  # an earlier one's memory is free before the next one's is taken
        gpus = ray.get_gpu_ids()
        if not gpus:  # Ray leaves those of the node in sight
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        if home.is_dir():
            os.chdir(home)
        _warm = _Warm(setup, gpus, setup.make())
    return _warm.runner


def _check_seen(job: Job) -> None:
    """Raise UserError unless this node sees what the driver wrote to the trial's folder."""
    until = time.monotonic() + SECONDS_TO_SEE
    while not job.token.exists():
        if time.monotonic() > until:
            raise UserError(
                f"the run folder must lie on storage that every node of the cluster sees, got "
                f"{job.folder}, which node {socket.gethostname()} does not see as the one that "
                "optimize.py runs on; set runs_dir=DIR to a shared folder."
            )
        time.sleep(0.1)


class _Line:
    """A trial's side of its box."""

    def __init__(self, mailbox: Any, key: str) -> None:
        self._mailbox = mailbox
        self._key = key

    def tell(self, message: Any) -> None:
        ray.get(self._mailbox.tell.remote(self._key, message))

    def ask(self, question: Any) -> bool:
        return bool(ray.get(self._mailbox.ask.remote(self._key, question)))

    def wait_for_stop(self) -> bool:
        return bool(ray.get(self._mailbox.wait_for_stop.remote(self._key)))


@contextmanager
def _stoppable(line: _Line) -> Iterator[None]:
    """Within the block, turn the driver's wish to stop the trial into SIGINT of this thread.

    ``ray.cancel`` would set a flag that Python looks at between its own instructions, and let
    whatever sleeps in the system sleep on. Ray's workers block the signal.
    """
    main = threading.get_ident()
    guard, running = threading.Lock(), True

    def listen() -> None:
        try:
            wanted = line.wait_for_stop()
        except RayError:  # the trial is over for the driver, or the driver is gone
            return
        with guard:
            if wanted and running:
                signal.pthread_kill(main, signal.SIGINT)

    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=listen, daemon=True).start()
    try:
        yield
    finally:
        with guard:
            running = False
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
