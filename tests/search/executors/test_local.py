"""Worker processes: their trials, their deaths, and that none outlives its executor."""

import signal

import pytest
from contract import TRIAL, ExecutorContract, always, is_running, never, until

from tl_hpo.search.executors.base import WorkerDiedError


class TestTheContract(ExecutorContract):
    pass


def test_a_worker_that_is_killed_is_told_and_replaced(executor, ran, tmp_path):
    one = executor(1)
    with pytest.raises(WorkerDiedError, match="signal SIGKILL"):
        one.run([*TRIAL, "+do=die"], tmp_path / "trial", never, always)
    assert one.run(TRIAL, tmp_path / "next", never, always).state == "COMPLETE"
    assert len({pid for _, pid, _ in ran()}) == 2


def test_no_worker_outlives_its_executor(executor, ran, tmp_path):
    one = executor(1)
    one.run(TRIAL, tmp_path / "trial", never, always)
    one.close()
    assert not is_running(ran()[0][1])


def test_no_worker_outlives_a_killed_process(tmp_path, start_holder):
    holder, pid = start_holder
    assert is_running(pid)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    until(lambda: not is_running(pid))
