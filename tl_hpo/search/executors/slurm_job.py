"""What a SLURM job does: it runs one trial and talks to the search through a mailbox.

Wherever it is, it ends when the search says so, when the search is gone, and when SLURM has begun
the job anew elsewhere. SLURM's own signals are submitit's matter: it puts the job back into the
queue when it is to be pre-empted or its time is over, and the trial begins again from its start.
"""

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_hpo.search.executors.mailbox import Attempt, Heart, Pulse, pauses
from tl_hpo.search.executors.wire import Answer, Epoch, Judged, Run, Setup
from tl_hpo.search.executors.worker import Interrupts, forward_logs, outcome_of

logger = logging.getLogger(__name__)

# In the folder that all jobs of a search share.
ALIVE_FILE = "alive"  # the search's sign of life, with one of the orders
STOP, KILL = "stop", "kill"

WATCH_SECONDS = 1.0  # between looks at these, and between signs of life
SILENCE_SECONDS = 45.0  # of the search: then it is gone
SECONDS_TO_END = 60.0  # for the process, once the trial is over
_ANSWER_PAUSES = (0.02, 0.5)  # seconds between looks for an answer


@dataclass(frozen=True)
class Job:
    """Runs a trial, from its start, whenever and wherever SLURM starts it.

    Attributes:
        setup: makes the runner.
        run: the trial.
        mailbox: of this job, in the folder that all jobs of the search share.
        answer_seconds: to wait for an answer; then the trial goes on, and its model stays.

    """

    setup: Setup
    run: Run
    mailbox: Path
    answer_seconds: float

    def __call__(self) -> None:
        """Run the trial, unless the search is gone."""
        with suppress(FileNotFoundError):
            JobAttempt(self).run()

    def checkpoint(self) -> Any:
        """Return what to run after SLURM has taken the node away: the same (for submitit)."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class JobAttempt:
    """One attempt at the trial of a job, in this process.

    Raises:
        FileNotFoundError: the search is gone.

    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._attempt = Attempt.begin(job.mailbox)
        self._interrupts = Interrupts()
        self._over = False

    def run(self) -> None:
        """Run the trial, and tell the search how it ended."""
        threading.Thread(target=self._watch, daemon=True).start()
        with forward_logs(self._say):
            outcome = outcome_of(self._interrupts, self._job.setup.make, self._job.run, self._ask)
        self._say(outcome)
        self._over = True

    def _ask(self, question: Epoch | Judged) -> bool:
        number = self._say(question)
        deadline = time.monotonic() + self._job.answer_seconds
        for pause in pauses(*_ANSWER_PAUSES):
            answer = self._attempt.answers.get(number)
            if isinstance(answer, Answer):
                return answer.yes
            if time.monotonic() > deadline:
                logger.info("no answer within %g s: goes on", self._job.answer_seconds)
                return isinstance(question, Judged)
            time.sleep(pause)
        raise AssertionError

    def _say(self, message: Any) -> int:
        """Write a message, whole whatever interrupts."""
        if threading.current_thread() is not threading.main_thread():
            return self._attempt.questions.put(message)
        with self._interrupts.allowed(False):
            return self._attempt.questions.put(message)

    def _watch(self) -> None:
        """Follow the search's orders in a thread of its own, whatever else goes on."""
        main = threading.main_thread().ident
        assert main is not None
        search, heart = Pulse(self._job.mailbox.parent / ALIVE_FILE), Heart(self._attempt.alive)
        told = False
        while not self._over:
            with suppress(OSError):  # the file system may stumble
                if self._is_given_up() or search.silence() > SILENCE_SECONDS:
                    os._exit(1)
                heart.beat()
            if search.order == KILL:
                os._exit(1)
            if search.order == STOP and not told:
                told = True
                signal.pthread_kill(main, signal.SIGINT)
            time.sleep(WATCH_SECONDS)
        time.sleep(SECONDS_TO_END)
        os._exit(0)  # whatever keeps it from ending holds a node

    def _is_given_up(self) -> bool:
        """Tell whether the search has done with this attempt, or another has begun."""
        return not self._attempt.folder.is_dir() or self._attempt.newest() is not self._attempt
