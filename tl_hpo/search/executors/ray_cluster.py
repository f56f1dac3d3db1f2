"""Runs trials as tasks of a Ray cluster: on many machines, on parts of their GPUs."""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tl_hpo.errors import UserError
from tl_hpo.memory import MemoryShortError
from tl_hpo.search.executors.base import StoppedError, WorkerDiedError
from tl_hpo.search.executors.ray_connection import Connection
from tl_hpo.search.executors.ray_mailbox import CALLS_AT_ONCE, Mailbox
from tl_hpo.search.executors.ray_shares import Share
from tl_hpo.search.executors.ray_trial import Begun, Job, Misplaced, run_trial
from tl_hpo.search.executors.wire import Done, Ended, Epoch, Failed, Judged, Log, Setup
from tl_hpo.training.result import KeepModel, Report, TrialResult

logger = logging.getLogger(__name__)

SECONDS_TO_END = 10.0  # for tasks that were killed
SECONDS_TO_BEGIN = 60.0  # then the log says what a trial waits for


@dataclass
class _Trial:
    """A trial that has been given to Ray.

    Attributes:
        begun: where it runs; None while it waits for resources.
        misplaced: whether it got a process that cannot run it.

    """

    key: str
    mailbox: Any
    task: ray.ObjectRef
    begun: Begun | None = None
    misplaced: bool = False


class RayExecutor:
    """Runs every trial as a task of a Ray cluster.

    Args:
        connection: to the cluster; closed with this.
        setup: what every trial needs, on any node.
        share: what a trial takes of the cluster.

    """

    def __init__(self, connection: Connection, setup: Setup, share: Share) -> None:
        self.workers = share.workers
        self._connection = connection
        self._setup = setup
        self._share = share
        # Ray would end the process of every task with a GPU, and what is warm in it: max_calls.
        options = ray.remote(
            max_calls=0, max_retries=0, num_cpus=share.cpus, num_gpus=share.gpus, name="trial"
        )
        self._task = options(run_trial)
        self._mailbox: Any = None
        self._running: dict[str, _Trial] = {}
        self._guard = threading.Lock()
        self._stopping = False

    def run(
        self, overrides: Sequence[str], folder: Path, report: Report, keep_model: KeepModel
    ) -> TrialResult:
        """Run one trial where Ray has room for it; see `Executor.run`."""
        while True:
            with _token(folder) as token:
                job = Job(uuid.uuid4().hex, list(overrides), folder.absolute(), token, Path.cwd())
                outcome = self._outcome(self._begin(job), report, keep_model)
            if outcome is not None:
                break
        if isinstance(outcome, Done):
            return outcome.result
        if isinstance(outcome, Failed):
            raise outcome.error()
        raise StoppedError

    def _begin(self, job: Job) -> _Trial:
        with self._guard:
            if self._stopping:
                raise StoppedError
            if self._mailbox is None:
                self._mailbox = _make_mailbox()
            task = self._task.remote(self._setup, job, self._mailbox)
            trial = self._running[job.key] = _Trial(job.key, self._mailbox, task)
        return trial

    def _outcome(
        self, trial: _Trial, report: Report, keep_model: KeepModel
    ) -> Done | Failed | Ended | None:
        """Wait for the end of a trial; None: it is to be given to Ray again."""
        try:
            self._converse(trial, report, keep_model)
            outcome: Done | Failed | Ended = ray.get(trial.task)
            return outcome
        except RayError as error:
            if self._stopping:
                raise StoppedError from None
            if trial.misplaced:
                return None
            raise self._error(trial, error) from error
        finally:
            with self._guard:
                del self._running[trial.key]
            # Whatever ended this thread's interest in the trial, nothing of it runs on.
            ray.cancel(trial.task, force=True)

    def _converse(self, trial: _Trial, report: Report, keep_model: KeepModel) -> None:
        for message in _messages(trial, self._tell_waiting):
            if isinstance(message, Begun):
                trial.begun = message
            elif isinstance(message, Misplaced):
                trial.misplaced = True
            elif isinstance(message, Epoch):
                trial.mailbox.answer.remote(trial.key, report(message.record))
            elif isinstance(message, Judged):
                trial.mailbox.answer.remote(trial.key, keep_model(message.result))
            else:
                assert isinstance(message, Log)
                logging.getLogger(message.name).log(message.level, "%s", message.text)

    def _tell_waiting(self) -> None:
        logger.warning(
            "A trial waits: no node of the Ray cluster has %g CPUs and %g GPUs to spare",
            self._share.cpus,
            self._share.gpus,
        )

    def _error(self, trial: _Trial, error: RayError) -> Exception:
        if isinstance(error, RayActorError):
            with self._guard:
                if self._mailbox is trial.mailbox:
                    self._mailbox = None  # the next trial makes another
            return WorkerDiedError("the process that passes on its reports is gone")
        if isinstance(error, RayTaskError):
            return UserError(
                "every node of the Ray cluster must have tl_hpo and what it needs, got: "
                f"{_last_line(error)}; install the same there as here."
            )
        where = "before it began"
        if trial.begun:
            where = f"process {trial.begun.process} on node {trial.begun.host}"
        if isinstance(error, OutOfMemoryError):
            return MemoryShortError(f"its node ran out of memory, and Ray ended it ({where})")
        return WorkerDiedError(f"its worker or node is gone ({where}; {type(error).__name__})")

    def stop(self) -> None:
        """Let running trials end at their next batch."""
        with self._guard:
            self._stopping = True
            for trial in self._running.values():
                if trial.begun:
                    trial.mailbox.stop.remote(trial.key)
                else:  # it waits, or loads for long, and nothing is lost
                    ray.cancel(trial.task, force=True)

    def kill(self) -> None:
        """End running trials at once."""
        with self._guard:
            self._stopping = True
            for trial in self._running.values():
                ray.cancel(trial.task, force=True)

    def close(self) -> None:
        """End all that this has in the cluster, and the cluster if it was started for this."""
        self.kill()
        with self._guard:
            tasks = [trial.task for trial in self._running.values()]
            mailbox, self._mailbox = self._mailbox, None
        if tasks:
            ray.wait(tasks, num_returns=len(tasks), timeout=SECONDS_TO_END)
        if mailbox is not None:
            ray.kill(mailbox)
        self._connection.close()


def _make_mailbox() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = ray.remote(num_cpus=0, max_concurrency=CALLS_AT_ONCE, scheduling_strategy=here)
    return options(Mailbox).remote()


def _messages(trial: _Trial, tell_waiting: Callable[[], None]) -> Iterator[Any]:
    """Yield what a trial says, to the last word, whether it comes to its end or dies.

    Raises:
        RayActorError: the mailbox is gone.

    """
    over = False
    message = trial.mailbox.next.remote(trial.key)
    while True:
        awaited = [message] if over else [message, trial.task]
        patience = None if over or trial.begun else SECONDS_TO_BEGIN
        ready, _ = ray.wait(awaited, timeout=patience)
        if message in ready:
            said = ray.get(message)
            if said is None:
                return
            yield said
            message = trial.mailbox.next.remote(trial.key)
        elif ready:
            over = True
            trial.mailbox.close.remote(trial.key)
        else:
            tell_waiting()


@contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """Keep a file in ``folder`` within the block, by which other nodes can tell that they see it.

    Its name is that of a leftover, which the next start removes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token = folder.absolute() / f".{uuid.uuid4().hex}.tmp"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
