"""Runs trials as jobs of a SLURM cluster, one job per trial."""

import itertools
import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tl_hpo.errors import UserError
from tl_hpo.files import write_text
from tl_hpo.search.executors.base import (
    RequeuedError,
    StoppedError,
    TrialError,
    WorkerDiedError,
)
from tl_hpo.search.executors.mailbox import Heart, refresh
from tl_hpo.search.executors.slurm_job import ALIVE_FILE, KILL, STOP, Job
from tl_hpo.search.executors.slurm_listener import Listener, Orders, Timing
from tl_hpo.search.executors.slurm_queue import FAILED, PassingError, SlurmQueue, check_commands
from tl_hpo.search.executors.wire import Run, Setup
from tl_hpo.training.result import KeepModel, Report, TrialResult

if TYPE_CHECKING:  # submitit is needed where jobs are submitted, and only there
    from tl_hpo.search.executors.submission import Submitter

logger = logging.getLogger(__name__)

FOLDER = ".slurm"  # in the run folder: a folder for each search that uses it
LOG_FILE = "slurm.log"  # in the folder of a trial whose job died
_NAME = "tl_hpo-"
_LOOKS_PER_SECOND = 20.0  # into all mailboxes together, while nothing comes
_PAUSE = 0.5  # seconds between looks into one, while they are few
_TRIES = 30  # to submit a job while SLURM does not answer
_NOISE = ("srun: Force Terminated", "srun: Job step aborted", "srun: launch/slurm")
_PATIENCE = Timing()


class SlurmExecutor:
    """Runs every trial in a job of its own, as many at once as there are workers.

    Args:
        setup: what every trial needs.
        submitter: makes what submits jobs, given a folder for its files and the jobs' name.
        workers: jobs at once.
        folder: that this machine and the nodes share; `close` leaves nothing in it.

    """

    def __init__(
        self,
        setup: Setup,
        submitter: "Callable[[Path, str], Submitter]",
        workers: int,
        folder: Path,
        timing: Timing = _PATIENCE,
    ) -> None:
        check_commands()
        self.workers = workers
        self._setup = setup
        self._make_submitter = submitter
        self._timing = timing
        # The name tells the jobs of this search from all others; a folder of it, their files.
        self._session = folder.absolute() / f"{_NAME}{uuid.uuid4().hex[:8]}"
        self._queue = SlurmQueue(self._session.name)
        self._heart = Heart(self._session / ALIVE_FILE)
        self._submitter: Submitter | None = None
        self._submitting = threading.Lock()
        self._beating: threading.Thread | None = None
        self._numbers = itertools.count(1)
        self._requeued: dict[Path, Listener] = {}
        self._one_was_accepted = self._one_has_begun = False
        self._orders, self._closed = Orders(), threading.Event()

    def run(
        self, overrides: Sequence[str], folder: Path, report: Report, keep_model: KeepModel
    ) -> TrialResult:
        """Run one trial in a job of its own; see `Executor.run`."""
        job = self._requeued.pop(folder, None) or self._submit(overrides, folder)
        try:
            result = job.listen(report, keep_model)
        except RequeuedError:
            self._requeued[folder] = job
            raise
        except WorkerDiedError as error:
            raise self._explained(job, folder, error) from error
        except (StoppedError, TrialError, UserError):
            raise
        except BaseException:
            self._queue.cancel([job.job])
            raise
        finally:
            self._one_has_begun |= job.has_begun
            if folder not in self._requeued:
                shutil.rmtree(job.mailbox, ignore_errors=True)
        refresh(folder)  # the job's files are to be seen here
        return result

    def _explained(self, job: Listener, folder: Path, error: WorkerDiedError) -> Exception:
        """Return the error with the last words of the job, whose log is kept."""
        assert self._submitter is not None
        log = self._submitter.log(job.job)
        if log:
            write_text(folder / LOG_FILE, log)
        words = ": ".join(text for text in (str(error), _last_words(log)) if text)
        if job.ended_as == FAILED and not (job.has_begun or self._one_has_begun):
            return UserError(
                f"SLURM jobs must find this Python and this folder on their nodes, got a trial "
                f"that could not begin ({words}); install on a file system that they share, or "
                "say in executor.setup what is to be loaded first."
            )
        return WorkerDiedError(words)

    # Submitting

    def _submit(self, overrides: Sequence[str], folder: Path) -> Listener:
        with self._submitting:
            if self._orders.stop.is_set():
                raise StoppedError
            submitter = self._open()
            mailbox = self._session / f"{folder.name}-{next(self._numbers)}"
            mailbox.mkdir()
            run = Run(list(overrides), folder.absolute())
            job = self._accepted(submitter, Job(self._setup, run, mailbox, self._timing.answer))
        pause = max(_PAUSE, min(self.workers / _LOOKS_PER_SECOND, self._timing.answer / 4))
        return Listener(job, mailbox, self._queue, self._orders, self._timing, pause)

    def _accepted(self, submitter: "Submitter", job: Job) -> str:
        for tries in range(1, _TRIES + 1):
            try:
                accepted = submitter.submit(job)
            except PassingError as error:
                if tries == _TRIES or not self._one_was_accepted:
                    raise UserError(
                        f"SLURM must answer to accept a job, got: {error}; repeat the command "
                        "when it does."
                    ) from error
                logger.warning("SLURM does not answer, which is tried again: %s", error)
                if self._orders.stop.wait(self._timing.retry):
                    raise StoppedError from None
            else:
                self._one_was_accepted = True
                return accepted
        raise AssertionError

    def _open(self) -> "Submitter":
        if self._submitter is None:
            self._end_forgotten()
            self._session.mkdir(parents=True)
            self._submitter = self._make_submitter(self._session / "submitit", self._session.name)
            self._heart.beat()
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()
        return self._submitter

    def _end_forgotten(self) -> None:
        """End the jobs of searches that used the folder before and were killed."""
        for session in self._session.parent.glob(f"{_NAME}*"):
            logger.info("Ending what an earlier search left in SLURM: %s", session.name)
            SlurmQueue(session.name).cancel_all(self._timing.end)
            shutil.rmtree(session, ignore_errors=True)

    def _beat(self) -> None:
        while not self._closed.wait(self._timing.beat):
            with suppress(OSError):  # the file system may stumble
                self._heart.beat()

    # Ending

    def stop(self) -> None:
        """Let running trials end at their next batch; those that wait never begin."""
        self._orders.stop.set()
        self._tell(STOP)
        if self._submitter:
            self._queue.cancel(self._queue.states_now(), pending=True)

    def kill(self) -> None:
        """End running trials at once."""
        self._orders.stop.set()
        self._orders.kill.set()
        self._tell(KILL)
        if self._submitter:
            self._queue.cancel(self._queue.states_now())

    def close(self) -> None:
        """End all jobs, and remove what they were told through."""
        self._orders.stop.set()
        with self._submitting:
            if self._submitter and not self._queue.wait_until_empty(self._timing.hasty):
                self._tell(KILL)
                if not self._queue.cancel_all(self._timing.end):
                    logger.warning("SLURM still has jobs named %s", self._queue.name)
            self._closed.set()
            if self._beating:
                self._beating.join()
            shutil.rmtree(self._session, ignore_errors=True)
            with suppress(OSError):  # absent, or in use by others
                self._session.parent.rmdir()

    def _tell(self, order: str) -> None:
        if self._session.is_dir():
            with suppress(OSError):
                self._heart.beat(order)


def _last_words(log: str) -> str:
    """Return what the log of a job that died says in the end: Python's words, then SLURM's."""
    lines = [line.strip() for line in log.splitlines()]
    return "; ".join([line for line in lines if line and not line.startswith(_NOISE)][-2:])
