"""What an executor and its worker process say to each other, over one connection.

| from the executor | | from the worker | |
|---|---|---|---|
| `Setup` | what every trial needs; first | `Ready` | it can run trials |
| `Run` | run this trial | `Epoch` | an epoch is over; wants an `Answer`: end now? |
| `Answer` | yes or no | `Judged` | what it came to; wants an `Answer`: keep its model? |
| `Stop` | end the trial, if one runs | `Done` | the trial is over, its files are written |
| | | `Failed` | it raised an exception |
| | | `Ended` | it was stopped |
| | | `Log` | for the log of the experiment |
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_hpo.errors import UserError
from tl_hpo.memory import MemoryShortError
from tl_hpo.processes import add_modules
from tl_hpo.search.executors.base import TrialError
from tl_hpo.search.runner import Runner
from tl_hpo.training.result import EpochRecord, TrialResult


@dataclass(frozen=True)
class Setup:
    """What makes the runner of an experiment's trials, in any process.

    Attributes:
        maker: ``module:function`` that returns it.
        arguments: of that function; plain containers.
        modules: where Python looks for modules, for optimizers of the user's own.

    """

    maker: str
    arguments: dict[str, Any]
    modules: list[str]

    def make(self) -> Runner:
        """Return a runner for this process."""
        add_modules(self.modules)
        module, _, function = self.maker.partition(":")
        runner: Runner = getattr(importlib.import_module(module), function)(**self.arguments)
        return runner


@dataclass(frozen=True)
class Ready:
    """The worker has loaded what it needs."""


@dataclass(frozen=True)
class Run:
    """A trial that writes to ``folder``."""

    overrides: list[str]
    folder: Path


@dataclass(frozen=True)
class Stop:
    """End the trial that runs, at its next batch."""


@dataclass(frozen=True)
class Epoch:
    """An epoch is over."""

    record: EpochRecord


@dataclass(frozen=True)
class Judged:
    """All epochs are over."""

    result: TrialResult


@dataclass(frozen=True)
class Answer:
    """To `Epoch` and `Judged`."""

    yes: bool


@dataclass(frozen=True)
class Done:
    """The trial is over."""

    result: TrialResult


@dataclass(frozen=True)
class Failed:
    """The trial raised an exception.

    Attributes:
        kind: name of its type.
        message, trace: its text and traceback.
        users_mistake: whether it is a UserError.
        short_of_memory: whether it is a MemoryShortError.

    """

    kind: str
    message: str
    trace: str
    users_mistake: bool
    short_of_memory: bool = False

    def error(self) -> Exception:
        """Return what to raise of it in the executor's process."""
        if self.users_mistake:
            return UserError(self.message)
        if self.short_of_memory:
            return MemoryShortError(self.message, self.trace)
        return TrialError(self.kind, self.message, self.trace)


@dataclass(frozen=True)
class Ended:
    """The trial was stopped."""


@dataclass(frozen=True)
class Log:
    """One line for the log."""

    name: str
    level: int
    text: str
