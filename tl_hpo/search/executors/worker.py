"""A worker process: runs the trials that come in over a connection, one after another.

Started by `local.WorkerProcess` as ``python -m tl_hpo.search.executors.worker FD``. It ends by
itself when the connection does, so it never outlives the process that started it.
"""

import logging
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from tl_hpo.errors import UserError
from tl_hpo.memory import MemoryShortError
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
    Stop,
)
from tl_hpo.search.runner import Runner


class Interrupts:
    """Turns the executor's `Stop` into a KeyboardInterrupt of the main thread.

    So a trial ends wherever it is, as it does on Ctrl-C; once wanted, no other trial begins.
    """

    def __init__(self) -> None:
        self._allowed = False
        self._wanted = False
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, *_: Any) -> None:
        self._wanted = True
        if self._allowed:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self, allowed: bool = True) -> Iterator[None]:
        """Let the block be interrupted; or, within such a block, let it come to its end first."""
        before, self._allowed = self._allowed, allowed
        try:
            self._raise_if_wanted()
            yield
        finally:
            self._allowed = before
        self._raise_if_wanted()

    def _raise_if_wanted(self) -> None:
        if self._allowed and self._wanted:
            raise KeyboardInterrupt


def outcome_of(
    interrupts: Interrupts,
    make: Callable[[], Runner],
    job: Run,
    ask: Callable[[Epoch | Judged], bool],
) -> Done | Failed | Ended:
    """Run a trial, with the runner that ``make`` returns, and return how it ended."""
    try:
        with interrupts.allowed():
            result = make().run(
                job.overrides,
                job.folder,
                lambda record: ask(Epoch(record)),
                lambda result: ask(Judged(result)),
            )
    except KeyboardInterrupt:
        return Ended()
    except MemoryShortError as error:
        return Failed(type(error).__name__, str(error), error.trace, False, True)
    except Exception as error:
        trace = traceback.format_exc()
        return Failed(type(error).__name__, str(error), trace, isinstance(error, UserError))
    return Done(result)


@contextmanager
def forward_logs(say: Callable[[Any], Any], leave_out: str = "") -> Iterator[None]:
    """Let ``say`` tell the executor's process what is logged within the block.

    Args:
        say: hands a message on.
        leave_out: a package whose records stay here.

    """
    root, handler = logging.getLogger(), _Forward(say)
    handler.addFilter(lambda record: record.name.partition(".")[0] != leave_out)
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class Worker:
    """Talks to the executor, and runs what it is told to.

    Args:
        connection: to the executor.

    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._interrupts = Interrupts()
        self._ready = False

    def serve(self) -> None:
        """Run trials until the executor goes away."""
        threading.Thread(target=self._listen, daemon=True).start()
        setup = self._received.get()
        with forward_logs(self._say):
            runner = setup.make()
            self._ready = True
            self._say(Ready())
            while True:
                message = self._received.get()
                if isinstance(message, Run):
                    self._say(outcome_of(self._interrupts, lambda: runner, message, self._ask))

    def _listen(self) -> None:
        """Receive in a thread of its own, which sees the connection end whatever else goes on."""
        main = threading.main_thread().ident
        assert main is not None
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, Stop) and not self._ready:
                os._exit(0)  # it may load for long, and nothing is lost
            elif isinstance(message, Stop):
                signal.pthread_kill(main, signal.SIGINT)
            else:
                self._received.put(message)

    def _ask(self, question: Epoch | Judged) -> bool:
        self._say(question)
        answer = self._received.get()
        assert isinstance(answer, Answer)
        return answer.yes

    def _say(self, message: Any) -> None:
        """Send a message, whole whatever interrupts."""
        if threading.current_thread() is not threading.main_thread():
            self._send(message)
            return
        with self._interrupts.allowed(False):
            self._send(message)

    def _send(self, message: Any) -> None:
        with self._sending:
            self._connection.send(message)


class _Forward(logging.Handler):
    """Hands log records on; the executor's process writes them."""

    def __init__(self, say: Callable[[Any], Any]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record on."""
        self._say(Log(record.name, record.levelno, record.getMessage()))


def main() -> None:
    """Serve the connection whose file descriptor is the first argument."""
    Worker(Connection(int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
