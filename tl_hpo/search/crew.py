"""The workers of a search: as many threads as trials may run at once, each waiting for one.

Whatever touches a study, its sampler or the run folder happens under one lock, so that the past
which a proposal builds on is whole; trials alone run outside of it. A free worker proposes at
once: what still runs counts as its sampler thinks fit. With one worker the trials are those of a
loop.
"""

import logging
import threading
from collections.abc import Sequence
from functools import partial

from tl_hpo.search.executors.base import Executor, Inline, StoppedError
from tl_hpo.search.proposing import Offer, describe_end, propose
from tl_hpo.search.sharing import poll_seconds
from tl_hpo.search.sole_storage import committed_together
from tl_hpo.search.step import StepRun
from tl_hpo.search.trials import run_trial

logger = logging.getLogger(__name__)


def run_steps(steps: Sequence[StepRun], executor: Executor) -> None:
    """Run trials of all ``steps`` until none has more to do; the first ones come first.

    Raises:
        UserError: a trial's configuration cannot work; the trial waits to be run again.
        KeyboardInterrupt: the user wants to stop; running trials have ended, and wait.

    """
    crew = _Crew(steps, executor)
    if isinstance(executor, Inline):
        crew.work()
    else:
        crew.run()


class _Crew:
    def __init__(self, steps: Sequence[StepRun], executor: Executor) -> None:
        self._steps = list(steps)
        self._executor = executor
        self._changed = threading.Condition(steps[0].lock)
        self._stopping = False
        self._at_work = 0
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Let every worker work in a thread of its own, and wait for them."""
        self._at_work = self._executor.workers
        for number in range(self._executor.workers):
            work = partial(self._guarded, number)
            threading.Thread(target=work, name=f"worker {number}", daemon=True).start()
        self._wait()
        if self._errors:
            raise self._errors[0]

    def work(self, worker: int = 0) -> None:
        """Run one trial after another, as this worker, until there is no more to do."""
        while (offer := self._next()) is not None:
            try:
                run_trial(offer.step, offer.trial, offer.overrides, worker)
            except StoppedError:
                return
            finally:
                with self._changed:
                    self._changed.notify_all()

    def _next(self) -> Offer | None:
        """Return the next trial to run, once there is one; None when there will be none."""
        with self._changed:
            while not self._stopping:
                waits = False
                for step in list(self._steps):
                    with committed_together(step.study):
                        offer = propose(step)
                    if isinstance(offer, Offer):
                        return offer
                    if offer is None:
                        waits = True
                    else:
                        describe_end(step, offer)
                        self._steps.remove(step)
                if not waits:
                    return None
                self._changed.wait(poll_seconds(self._steps[0].study))
        return None

    def _guarded(self, worker: int) -> None:
        try:
            self.work(worker)
        except BaseException as error:  # raised again in the thread that waits
            self._errors.append(error)
            self._stop()
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._executor.stop()

    def _wait(self) -> None:
        try:
            self._until_all_are_done()
        except KeyboardInterrupt:
            logger.info("Stopping: running trials end at their next batch (again: at once)")
            self._stop()
            try:
                self._until_all_are_done()
            except KeyboardInterrupt:
                self._executor.kill()
                self._until_all_are_done()
            raise

    def _until_all_are_done(self) -> None:
        """Wait; not by Thread.join, which after an interrupt takes the thread for ended."""
        with self._changed:
            while self._at_work:
                self._changed.wait()
