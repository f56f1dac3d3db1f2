"""The other processes of a trial: rank 0 starts them, watches them, and ends them.

Each holds one end of a socket: it ends when the socket does, so none outlives the trial, however
that ends. What it raises comes back through it; what kills it closes it.
"""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from tl_hpo import processes
from tl_hpo.errors import UserError
from tl_hpo.memory import MemoryShortError, is_short, oom_kills
from tl_hpo.training.group import Group, abort, connect, joined

MODULE = "tl_hpo.training.rank"
SECONDS_TO_END = 5.0  # for a process whose socket has been closed
SECONDS_TO_TELL = 2.0  # between a broken collective and the end of the process that broke it


@dataclass(frozen=True)
class Setup:
    """What another process needs: the trial, its place, and where Python finds modules."""

    config: dict[str, Any]
    rank: int
    size: int
    port: int
    modules: list[str]


@dataclass(frozen=True)
class Ready:
    """A process has prepared the trial and is about to join the group."""


@dataclass(frozen=True)
class Failed:
    """A process raised an exception; ``users_mistake`` and ``short_of_memory`` tell its kind."""

    message: str
    trace: str
    users_mistake: bool
    short_of_memory: bool


class RankError(Exception):
    """A process that trained with this one failed, or is gone."""


class Ranks:
    """The other processes of one trial, from the beginning of the block to its end.

    Args:
        config: of the trial; ``trainer.devices`` tells how many there are with this one.
        device: of this process.

    """

    def __init__(self, config: DictConfig, device: torch.device) -> None:
        self._size = config.trainer.devices
        self._device = device
        self._threads = max(1, torch.get_num_threads() // self._size)
        self._oom_kills = oom_kills()
        self._store = connect(0, self._size, master=True)
        self._heard: queue.SimpleQueue[Ready | Exception] = queue.SimpleQueue()
        plain: Any = OmegaConf.to_container(config, resolve=True)
        self._others: list[_Process] = []
        try:
            for rank in range(1, self._size):
                setup = Setup(plain, rank, self._size, self._store.port, sys.path)
                self._others.append(_Process(setup, self._threads))
        except BaseException:
            self.close()
            raise
        for other in self._others:
            threading.Thread(target=self._watch, args=(other,), daemon=True).start()

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of them, whatever they do."""
        for other in self._others:
            other.hang_up()
        for other in self._others:
            other.wait()

    @contextmanager
    def joined(self) -> Iterator[Group]:
        """Train together with all of them while the block runs.

        Raises:
            UserError, MemoryShortError, RankError: one of them failed.

        """
        for _ in self._others:
            heard = self._heard.get()
            if isinstance(heard, Exception):
                raise heard
        with joined(0, self._size, self._store, self._device) as group:
            torch.set_num_threads(self._threads)
            try:
                yield group
            except BaseException as error:
                cause = self._cause(error)
                self.close()  # before the group breaks, or they would raise in turn
                if cause is not None:
                    raise cause from None
                raise

    def _cause(self, error: BaseException) -> Exception | None:
        """Return what another process failed of, if ``error`` is but the consequence of that."""
        wait = SECONDS_TO_TELL if isinstance(error, RuntimeError) and not is_short(error) else 0.0
        with suppress(queue.Empty):
            heard = self._heard.get(timeout=wait) if wait else self._heard.get_nowait()
            return heard if isinstance(heard, Exception) else None
        return None

    def _watch(self, other: "_Process") -> None:
        """Listen to a process until it ends."""
        message = other.hear()
        if isinstance(message, Ready):
            self._heard.put(message)
            message = other.hear()
        failure = _error(message) if isinstance(message, Failed) else self._death(other)
        if failure is not None:
            self._heard.put(failure)
            abort()

    def _death(self, other: "_Process") -> Exception | None:
        """Return what to tell of a process that is gone; None where it was to end."""
        code, told = other.ended()
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return MemoryShortError(f"{told}, as the system does for lack of memory")
        return RankError(told) if told else None


class _Process:
    def __init__(self, setup: Setup, threads: int) -> None:
        environment = {**os.environ, **processes.threads(threads)}
        self._process, descriptor = processes.start(MODULE, environment)
        self._socket = socket.socket(fileno=descriptor)
        self._connection = Connection(os.dup(descriptor))
        self._ends = False
        self._name = f"rank {setup.rank} of {setup.size}"
        with suppress(OSError):  # it has ended already: so `hear` will tell
            self._connection.send(setup)

    def hear(self) -> Any:
        """Return what the process says next; None when it is gone."""
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return None

    def hang_up(self) -> None:
        """Let it end; from now on that is no failure."""
        self._ends = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # so that whoever listens here returns too

    def wait(self) -> None:
        """Wait for its end, and bring it about where it does not come."""
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()

    def ended(self) -> tuple[int | None, str]:
        """Return exit code and words for the end of the process; no words where it was to end."""
        if self._ends:
            return None, ""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        code = self._process.returncode
        if code is None:
            return code, f"{self._name} hung up"
        return code, f"{self._name} ended with {processes.ending(code)}"


def _error(failed: Failed) -> Exception:
    if failed.users_mistake:
        return UserError(failed.message)
    if failed.short_of_memory:
        return MemoryShortError(failed.message, failed.trace)
    error = RankError(failed.message)
    error.add_note(failed.trace)  # so that it is in the traceback
    return error
