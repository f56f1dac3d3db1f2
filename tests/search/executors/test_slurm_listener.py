"""What a search makes of a job that says nothing, by what SLURM says of it."""

import threading
import time

import pytest

from tl_hpo.search.executors.base import RequeuedError, StoppedError, WorkerDiedError
from tl_hpo.search.executors.mailbox import Attempt
from tl_hpo.search.executors.slurm_listener import Listener, Orders, Timing
from tl_hpo.search.executors.wire import Ended, Epoch
from tl_hpo.training.result import EpochRecord

TIMING = Timing(quiet=0.05, hasty=0.05, dead=0.5, late=0.1)
RECORD = EpochRecord("head", 1, 1, 1, 0.1, 0.1, 0.9, 0.9, 0.4)


class Queue:
    """One that says of job 17 what it is told to."""

    def __init__(self, *states):
        self.answers = list(states)
        self.cancelled = []

    def states(self, since):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if answer is None else {"17": answer} if answer else {}

    def cancel(self, ids, *, pending=False):
        self.cancelled.append((list(ids), pending))
        self.answers = [""]

    def ending(self, job):
        return "NODE_FAIL", "has ended as NODE_FAIL"


@pytest.fixture
def listen(tmp_path):
    """Listen to job 17; return what that raises."""

    def go(queue, orders=None, report=lambda record: False):
        listener = Listener("17", tmp_path, queue, orders or Orders(), TIMING, 0.05)
        with pytest.raises((StoppedError, WorkerDiedError)) as caught:
            listener.listen(report, lambda result: True)
        return caught.value

    return go


def test_a_job_that_has_left_the_queue_is_dead(listen):
    error = listen(Queue("PENDING", "RUNNING", "COMPLETING", None, ""))
    assert type(error) is WorkerDiedError
    assert str(error) == "its SLURM job 17 has ended as NODE_FAIL"


def test_a_job_that_is_seen_again_is_not(listen):
    queue = Queue("", "RUNNING", "")
    began = time.monotonic()
    listen(queue)
    assert time.monotonic() - began > 2 * TIMING.late


def test_what_hangs_on_a_node_is_given_up(listen, tmp_path):
    Attempt.begin(tmp_path)
    queue = Queue("RUNNING")
    assert "gave no sign of life" in str(listen(queue))
    assert queue.cancelled == [(["17"], False)]


def test_a_job_may_wait_in_the_queue_for_long(listen):
    queue = Queue(*["PENDING"] * 15, "")
    began = time.monotonic()
    listen(queue)
    assert time.monotonic() - began > TIMING.dead


def test_a_job_that_waits_is_cancelled_when_all_are_to_stop(listen):
    orders, queue = Orders(), Queue("PENDING")
    orders.stop.set()
    assert type(listen(queue, orders)) is StoppedError
    assert queue.cancelled == [(["17"], True)]


def test_nothing_is_waited_for_when_all_are_killed(listen):
    orders = Orders()
    threading.Timer(0.2, lambda: (orders.stop.set(), orders.kill.set())).start()
    assert type(listen(Queue(None), orders)) is StoppedError


def test_what_was_said_before_a_new_attempt_is_heard_first(listen, tmp_path):
    Attempt.begin(tmp_path).questions.put(Epoch(RECORD))
    heard = []

    def report(record):
        heard.append(record)
        Attempt.begin(tmp_path)
        return False

    assert type(listen(Queue("RUNNING"), report=report)) is RequeuedError
    assert heard == [RECORD]


def test_a_cancelled_trial_stays_cancelled(listen, tmp_path):
    attempt = Attempt.begin(tmp_path)
    for _ in range(2):
        attempt.questions.put(Epoch(RECORD))
    attempt.questions.put(Ended())
    wishes = iter([True, False])
    listen(Queue("RUNNING"), report=lambda record: next(wishes))
    assert [attempt.answers.get(number).yes for number in (1, 2)] == [True, True]


@pytest.mark.parametrize("text", ["{}", "nonsense"])
def test_what_is_no_message_ends_a_job(listen, tmp_path, text):
    attempt = Attempt.begin(tmp_path)
    (attempt.folder / "job" / "000001.json").write_text(text)
    assert "its SLURM job 17 wrote" in str(listen(Queue("RUNNING")))


def test_a_job_that_somebody_interrupts_is_dead_unless_all_are_to_stop(listen, tmp_path):
    Attempt.begin(tmp_path).questions.put(Ended())
    assert "was interrupted" in str(listen(Queue("RUNNING")))
    orders = Orders()
    orders.stop.set()
    assert type(listen(Queue("RUNNING"), orders)) is StoppedError
