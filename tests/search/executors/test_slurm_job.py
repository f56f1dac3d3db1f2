"""What a job does by itself: in a process of its own, without SLURM."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tl_hpo.search.executors.mailbox import Attempt, Heart, Messages
from tl_hpo.search.executors.slurm_job import ALIVE_FILE, KILL, STOP
from tl_hpo.search.executors.wire import Answer, Done, Ended, Epoch, Failed, Judged

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent.parent
PATIENCE_SECONDS = 30


@pytest.fixture
def start(tmp_path):
    """Start a job whose search has been gone for a second when it is silent for so long."""
    started = []

    def go(*overrides, answer_seconds=10.0):
        code = f"""
import sys
sys.path[:0] = {[str(REPOSITORY), str(HERE), str(HERE.parent)]!r}
from pathlib import Path
from tl_hpo.search.executors import slurm_job
from tl_hpo.search.executors.wire import Run, Setup
slurm_job.SILENCE_SECONDS, slurm_job.WATCH_SECONDS = 1.0, 0.05
setup = Setup("runners:make", {{"folder": {str(tmp_path)!r}}}, sys.path)
trial = ["model=vgg16", "optimizer=adam", "optimizer.lr=0.01", *{list(overrides)!r}]
run = Run(trial, Path({str(tmp_path / "trial")!r}))
slurm_job.Job(setup, run, Path({str(tmp_path / "session" / "box")!r}), {answer_seconds})()
"""
        environment = {"CUDA_VISIBLE_DEVICES": ""}
        started.append(subprocess.Popen([sys.executable, "-c", code], env=environment))
        return started[-1]

    yield go
    for each in started:
        each.kill()
        each.wait()


@pytest.fixture
def box(tmp_path):
    """Return the mailbox of the job, beside the signs of life of its search."""
    path = tmp_path / "session" / "box"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def heart(box):
    return Heart(box.parent / ALIVE_FILE)


def messages_of(process, box, heart, answer=lambda message: None, number=1):
    """Return all messages of an attempt, answered while its search is alive."""
    attempt, read = Attempt(box, number), []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        over = process.poll() is not None
        heart.beat()
        while (message := attempt.questions.get(len(read) + 1)) is not None:
            read.append(message)
            yes = answer(message)
            if yes is not None:
                Messages(attempt.folder / "driver").put_as(len(read), Answer(yes))
        if over:
            return read
        time.sleep(0.02)
    raise AssertionError("never ended")


def until(reached):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_trial_is_told_epoch_by_epoch(start, box, heart, tmp_path):
    read = messages_of(start(), box, heart, lambda message: isinstance(message, Judged))
    assert [type(message) for message in read] == [Epoch] * 6 + [Judged, Done]
    assert (tmp_path / "trial" / "model").exists()


def test_without_answers_a_trial_goes_on_and_keeps_its_model(start, box, heart, tmp_path):
    read = messages_of(start(answer_seconds=0.1), box, heart)
    told = [message for message in read if isinstance(message, (Epoch, Judged, Done))]
    assert [type(message) for message in told] == [Epoch] * 6 + [Judged, Done]
    assert told[-1].result.state == "COMPLETE"
    assert (tmp_path / "trial" / "model").exists()


def test_a_late_answer_is_none_to_the_next_question(start, box, heart):
    def late(message):
        return True if isinstance(message, Epoch) and message.record.number == 1 else None

    read = messages_of(start(answer_seconds=0.0), box, heart, late)
    assert isinstance(read[-1], Done)


def test_a_runner_that_cannot_be_made_is_told(start, box, heart):
    (read,) = messages_of(start("+do=mistake"), box, heart)
    assert read == Failed(
        "UserError", "a rule must hold, got none; mend it.", read.trace, users_mistake=True
    )


def test_a_trial_ends_at_its_next_batch_when_told_to(start, box, heart, tmp_path):
    process = start("+do=hang")
    heart.beat()
    until((tmp_path / "ran.txt").exists)
    heart.beat(STOP)
    assert messages_of(process, box, heart) == [Ended()]
    assert process.returncode == 0


@pytest.mark.parametrize("how", ["kill", "silence", "mailbox", "replaced"])
def test_a_job_ends_when_its_search_is_gone_or_has_done_with_it(start, box, heart, how, tmp_path):
    process = start("+do=hang")
    until(lambda: heart.beat() or (tmp_path / "ran.txt").exists())
    if how == "kill":
        heart.beat(KILL)
    elif how == "mailbox":
        (box / "attempt-1").rename(box.parent / "elsewhere")
    elif how == "replaced":
        Attempt.begin(box)
    began = time.monotonic()
    process.wait(PATIENCE_SECONDS)
    assert process.returncode == 1
    if how == "silence":
        assert time.monotonic() - began > 0.5


def test_a_job_without_a_search_ends_before_its_trial(start, tmp_path):
    assert start().wait(PATIENCE_SECONDS) == 0
    assert not (tmp_path / "ran.txt").exists()
