"""What every executor does with simulated trials: its tests inherit these.

A test module has the fixtures ``executor`` (one with so many workers) and ``ran``.
"""

import os
import threading
import time
from pathlib import Path

import pytest

from tl_hpo.errors import UserError
from tl_hpo.search.executors.base import StoppedError, TrialError

TRIAL = ["model=vgg16", "optimizer=adam", "optimizer.lr=0.01"]
PATIENCE_SECONDS = 30


def never(record):
    return False


def always(result):
    return True


def in_threads(tasks):
    """Run ``tasks`` at once; return what each gave or raised."""
    outcomes = [None] * len(tasks)

    def go(index, task):
        try:
            outcomes[index] = task()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=go, args=each) for each in enumerate(tasks)]
    for thread in threads:
        thread.start()
    return threads, outcomes


def until(reached):
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if reached():
            return
        time.sleep(0.02)
    raise AssertionError("never came about")


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")


class ExecutorContract:
    def test_a_trial_is_that_of_the_runner_itself(self, executor, tmp_path):
        from runners import make

        def outcome(runner, folder):
            records = []
            result = runner.run(
                TRIAL, tmp_path / folder, lambda record: records.append(record) or False, always
            )
            return result, records, (tmp_path / folder / "model" / "model.safetensors").read_text()

        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
        assert outcome(executor(1), "there") == outcome(make(str(tmp_path)), "here")

    def test_the_executor_decides_when_a_trial_ends_and_whether_its_model_stays(
        self, executor, tmp_path
    ):
        result = executor(1).run(
            TRIAL, tmp_path / "trial", lambda record: record.number == 2, lambda result: False
        )
        assert (result.state, result.epochs) == ("PRUNED", 2)
        assert not (tmp_path / "trial" / "model").exists()

    def test_a_worker_stays_warm_and_sees_its_device_alone(self, executor, ran, tmp_path):
        two = executor(1)
        for name in ("a", "b"):
            two.run(TRIAL, tmp_path / name, never, always)
        assert [name for name, _, _ in ran()] == ["a", "b"]
        assert len({pid for _, pid, _ in ran()}) == 1
        assert {seen for _, _, seen in ran()} == {""}

    def test_workers_run_at_the_same_time(self, executor, ran, tmp_path):
        two = executor(2)
        slow = [*TRIAL, "+sleep=1"]
        threads, outcomes = in_threads(
            [lambda n=n: two.run(slow, tmp_path / str(n), never, always) for n in range(2)]
        )
        until(lambda: (tmp_path / "ran.txt").exists() and len(ran()) == 2)
        assert all(thread.is_alive() for thread in threads)
        for thread in threads:
            thread.join()
        assert len({pid for _, pid, _ in ran()}) == 2
        assert outcomes[0] == outcomes[1]

    @pytest.mark.parametrize("kind", ["fail", "mistake"])
    def test_exceptions_come_back(self, executor, kind, tmp_path):
        one = executor(1)
        with pytest.raises((TrialError, UserError)) as caught:
            one.run([*TRIAL, f"+do={kind}"], tmp_path / "trial", never, always)
        error = caught.value
        if kind == "mistake":
            assert str(error) == "a rule must hold, got none; mend it."
        else:
            assert (error.kind, str(error)) == ("ValueError", "as asked")
            assert 'raise ValueError("as asked")' in error.trace
        assert one.run(TRIAL, tmp_path / "next", never, always).state == "COMPLETE"

    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_running_trials_end_when_told_to(self, executor, ran, tmp_path, how):
        two = executor(2)
        threads, outcomes = in_threads(
            [
                lambda n=n: two.run([*TRIAL, "+do=hang"], tmp_path / str(n), never, always)
                for n in range(2)
            ]
        )
        until(lambda: (tmp_path / "ran.txt").exists() and len(ran()) == 2)
        getattr(two, how)()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert [type(each) for each in outcomes] == [StoppedError, StoppedError]
        with pytest.raises(StoppedError):
            two.run(TRIAL, tmp_path / "next", never, always)
