"""Listens to one SLURM job, and finds out when it will not speak any more."""

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_hpo.search.executors.base import RequeuedError, StoppedError, WorkerDiedError
from tl_hpo.search.executors.mailbox import Attempt, Pulse, pauses
from tl_hpo.search.executors.slurm_queue import ON_A_NODE, PENDING, SlurmQueue
from tl_hpo.search.executors.wire import Answer, Done, Ended, Epoch, Failed, Judged, Log
from tl_hpo.training.result import KeepModel, Report, TrialResult

_SHORTEST_PAUSE = 0.05  # seconds between looks into a mailbox


@dataclass(frozen=True)
class Timing:
    """Patience, in seconds.

    Attributes:
        answer: that a trial waits for an answer.
        beat: between the search's signs of life.
        quiet: without a job's sign of life: then SLURM is asked, and not more often than this.
        hasty: the same, while jobs are to end.
        dead: without one, though SLURM says that it runs: then it is given up.
        late: that a file may be seen after its job has left the queue.
        end: for all jobs to leave the queue.
        retry: between tries to submit while SLURM does not answer.

    """

    answer: float = 10.0
    beat: float = 5.0
    quiet: float = 15.0
    hasty: float = 2.0
    dead: float = 300.0
    late: float = 5.0
    end: float = 60.0
    retry: float = 10.0


@dataclass(frozen=True)
class Orders:
    """What all jobs of a search are to do."""

    stop: threading.Event = field(default_factory=threading.Event)
    kill: threading.Event = field(default_factory=threading.Event)


class Listener:
    """The search's side of a job.

    Args:
        job: its id.
        mailbox: of the job.
        queue: where it waits or runs.
        orders: for all jobs.
        longest_pause: seconds between looks into the mailbox while nothing comes.

    Attributes:
        ended_as: SLURM's word for how it has left the queue, if it is known.

    """

    def __init__(
        self,
        job: str,
        mailbox: Path,
        queue: SlurmQueue,
        orders: Orders,
        timing: Timing,
        longest_pause: float,
    ) -> None:
        self.job = job
        self.mailbox = mailbox
        self.ended_as = ""
        self._queue = queue
        self._orders = orders
        self._timing = timing
        self._longest_pause = longest_pause
        self._submitted = time.monotonic()
        self._gone: float | None = None  # since when it has left the queue
        self._turn_to(Attempt(mailbox, 0))

    @property
    def has_begun(self) -> bool:
        """Whether the job has ever run."""
        return self._attempt.number > 0

    def listen(self, report: Report, keep_model: KeepModel) -> TrialResult:
        """Answer the job until its trial is over; see `Executor.run`."""
        cancels = False  # a late answer must not be lost: the next one says so again
        while True:
            message = self._next()
            if isinstance(message, Epoch):
                cancels = report(message.record) or cancels
                self._answer(cancels)
            elif isinstance(message, Judged):
                self._answer(keep_model(message.result))
            elif isinstance(message, Log):
                logging.getLogger(message.name).log(message.level, "%s", message.text)
            elif isinstance(message, Done):
                return message.result
            elif isinstance(message, Failed):
                raise message.error()
            elif isinstance(message, Ended) and self._orders.stop.is_set():
                raise StoppedError
            else:
                raise WorkerDiedError(f"its SLURM job {self.job} was interrupted")

    def _turn_to(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._pulse = Pulse(attempt.alive)
        self._read = 0

    def _answer(self, yes: bool) -> None:
        try:
            self._attempt.answers.put_as(self._read, Answer(yes))
        except OSError as error:
            raise WorkerDiedError(f"the mailbox of its SLURM job {self.job} is gone") from error

    def _next(self) -> Any:
        """Return the next message, once there is one."""
        for pause in pauses(_SHORTEST_PAUSE, self._longest_pause):
            try:
                message = self._attempt.questions.get(self._read + 1)
            except ValueError as error:
                raise WorkerDiedError(f"its SLURM job {self.job} wrote {error}") from error
            if message is not None:
                self._read += 1
                return message
            self._check()
            self._orders.kill.wait(pause)
        raise AssertionError

    def _check(self) -> None:
        """Raise what there is to raise when no message has come."""
        if self._orders.kill.is_set():
            raise StoppedError
        newest = self._attempt.newest()
        if newest is not self._attempt:
            begun = self.has_begun
            self._turn_to(newest)
            if begun:
                raise RequeuedError(f"SLURM took its job {self.job} back into the queue")
        silence = self._pulse.silence()
        stops = self._orders.stop.is_set()
        patience = self._timing.hasty if stops else self._timing.quiet
        if silence > patience:
            since = max(self._submitted, time.monotonic() - patience)
            states = self._queue.states(since)
            if states is not None:
                self._judge(states.get(self.job), silence, stops)

    def _judge(self, state: str | None, silence: float, stops: bool) -> None:
        """Raise what follows from the state of a job that gives no sign of life."""
        if state is None:
            self._has_left(stops)
            return
        self._gone = None
        if stops and state == PENDING:
            self._queue.cancel([self.job], pending=True)
        elif state in ON_A_NODE and self.has_begun and silence > self._timing.dead:
            self._queue.cancel([self.job])
            raise WorkerDiedError(
                f"its SLURM job {self.job} gave no sign of life for {silence:.0f} s"
            )

    def _has_left(self, stops: bool) -> None:
        now = time.monotonic()
        self._gone = now if self._gone is None else self._gone
        if now - self._gone < self._timing.late:
            return
        if stops:
            raise StoppedError
        self.ended_as, words = self._queue.ending(self.job)
        raise WorkerDiedError(f"its SLURM job {self.job} {words}")
