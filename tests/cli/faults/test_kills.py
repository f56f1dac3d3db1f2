"""SIGKILL at random moments, twenty times over one experiment."""

import os
import random
import signal
import time

import pytest

KILLS = 20
LONGER = ("head.epochs=20", "head.patience=null")  # than what lies between trials
BEGINS = "Step "  # of the line that tells that trials are about to begin


@pytest.mark.slow
def test_the_command_is_killed_twenty_times(
    start, experiment, ends_well, is_whole, run_folder, completed
):
    moments = random.Random(20)
    arguments = experiment(24, 8)
    before = 0
    for kill in range(KILLS):
        workers = kill % 5 == 4
        how = ["executor.workers=2"] if workers else ["executor=inline"]
        process = start("optimize.py", *arguments, *how)
        assert any(line.startswith(BEGINS) for line in process.stdout), process.communicate()
        time.sleep(moments.uniform(0, 15 if workers else 1.5))
        assert process.poll() is None, f"it ended before kill {kill}: {process.communicate()}"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert completed() >= before
        before = completed()
    ends_well([*arguments, "executor.workers=2"])
    is_whole(run_folder, 24, 8)


@pytest.mark.slow
def test_workers_are_killed_twenty_times(
    start, experiment, is_whole, run_folder, completed, workers_in, until
):
    moments = random.Random(21)
    process = start("optimize.py", *experiment(60, 10, *LONGER), "executor.workers=2")
    for _ in range(KILLS):
        before = completed()
        # The next has to be complete first: a trial whose worker dies thrice has failed.
        until(process, lambda before=before: completed() > before and workers_in())
        time.sleep(moments.uniform(0, 0.5))
        os.kill(min(workers_in()), signal.SIGKILL)  # the oldest, which has a trial
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "runs again: its worker process" in out  # not all workers were between trials
    is_whole(run_folder, 60, 10)
