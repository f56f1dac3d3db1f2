"""What an executor is: it runs trials given as overrides, ``workers`` of them at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tl_hpo.search.runner import Runner
from tl_hpo.training.result import KeepModel, Report, TrialResult


class StoppedError(Exception):
    """A trial has been ended by `Executor.stop`; it is to be run again."""


class WorkerDiedError(Exception):
    """What ran a trial is gone, with the trial; it may be run again elsewhere."""


class RequeuedError(WorkerDiedError):
    """What ran a trial was taken away, and has begun it again; `Executor.run` it to go on."""


class TrialError(Exception):
    """A trial failed in another process.

    Attributes:
        kind: name of the exception's type there.
        trace: its traceback there, as text.

    """

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace


class Executor(Protocol):
    """Runs trials.

    `run` is called from as many threads at once as there are workers; ``report`` and
    ``keep_model`` are called back in the thread that called it.
    """

    @property
    def workers(self) -> int:
        """How many trials may run at the same time."""

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        report: Report,
        keep_model: KeepModel,
    ) -> TrialResult:
        """Run one trial that writes to ``folder``, and return when it is over.

        Raises:
            StoppedError: `stop` was called.
            WorkerDiedError: it can be run again.
            RequeuedError: it has begun again; what it has reported so far is void.
            TrialError: it failed elsewhere.
            MemoryShortError: memory was not enough.
            UserError: its configuration cannot work.

        """

    def stop(self) -> None:
        """Let running trials end at their next batch."""

    def kill(self) -> None:
        """End running trials at once."""

    def close(self) -> None:
        """Give back all that is held; nothing runs any more."""


class Inline:
    """Runs one trial after another in this process.

    Args:
        runner: of the trials.

    """

    workers = 1

    def __init__(self, runner: Runner) -> None:
        self.run = runner.run

    def stop(self) -> None:
        """Do nothing: Ctrl-C reaches the trial itself."""

    kill = close = stop
