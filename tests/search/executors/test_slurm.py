"""Trials as jobs of a real SLURM cluster of one node."""

import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.search.executors.base import (
    RequeuedError,
    StoppedError,
    TrialError,
    WorkerDiedError,
)
from tl_hpo.search.executors.slurm import LOG_FILE, SlurmExecutor
from tl_hpo.search.executors.slurm_listener import Timing
from tl_hpo.search.executors.wire import Setup
from tl_hpo.search.experiment import Experiment

submission = pytest.importorskip("tl_hpo.search.executors.submission", reason="submitit is absent")

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent.parent
TRIAL = ["model=vgg16", "optimizer=adam", "optimizer.lr=0.01"]
PATIENCE_SECONDS = 60
HASTY = Timing(beat=1.0, quiet=1.5, hasty=1.0, late=1.0, end=30.0)
# Runners note the visible GPUs: here that tells which job ran a trial.
NOTE_JOB = "export CUDA_VISIBLE_DEVICES=$SLURM_JOB_ID"

pytestmark = pytest.mark.usefixtures("slurm")


def never(record):
    return False


def always(result):
    return True


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def queue():
    return said("squeue", "--noheader", "--format=%j %T").split("\n")[:-1]


def until(reached, seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "never came about"
        time.sleep(0.1)


class Outcome:
    """What a call gave or raised, in a thread of its own."""

    def __init__(self, task):
        self.value = None
        self._thread = threading.Thread(target=self._go, args=(task,), daemon=True)
        self._thread.start()

    def _go(self, task):
        try:
            self.value = task()
        except Exception as error:
            self.value = error

    def get(self):
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        return self.value


@pytest.fixture
def executor(tmp_path):
    """Return an executor with so many workers; it is closed after the test, and leaves nothing."""
    made = []
    shared = tmp_path / ".slurm"

    def go(workers=1, *, timing=HASTY, setup=(), **parameters):
        maker = Setup("runners:make", {"folder": str(tmp_path)}, [str(HERE), str(HERE.parent)])
        usual = {"time": 5, "mem": "200M", "cpus_per_task": 1}

        def submitter(folder, name):
            return submission.Submitter(folder, name, usual | parameters, [NOTE_JOB, *setup])

        made.append(SlurmExecutor(maker, submitter, workers, shared, timing))
        return made[-1]

    yield go
    for each in made:
        each.close()
    assert queue() == []
    assert not shared.exists()


@pytest.fixture
def ran(tmp_path):
    """Return trial, process and job of every run."""

    def go():
        path = tmp_path / "ran.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(name, int(pid), job) for name, pid, job in (line.split(" ") for line in lines)]

    return go


def test_a_trial_is_that_of_the_runner_itself(executor, tmp_path, monkeypatch):
    from runners import make

    def outcome(runner, folder):
        records = []
        result = runner.run(
            TRIAL, tmp_path / folder, lambda record: records.append(record) or False, always
        )
        return result, records, (tmp_path / folder / "model" / "model.safetensors").read_text()

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("SLURM_JOB_ID", "17")  # a search may itself run in a job
    monkeypatch.setenv("SLURM_MEM_PER_GPU", "1G")
    assert outcome(executor(), "there") == outcome(make(str(tmp_path)), "here")


def test_the_search_decides_when_a_trial_ends_and_whether_its_model_stays(executor, tmp_path):
    result = executor().run(
        TRIAL, tmp_path / "trial", lambda record: record.number == 2, lambda result: False
    )
    assert (result.state, result.epochs) == ("PRUNED", 2)
    assert not (tmp_path / "trial" / "model").exists()


def test_jobs_run_at_the_same_time_with_the_cores_they_asked_for(executor, ran, tmp_path):
    noted = tmp_path / "threads.txt"
    two = executor(2, setup=[f"trap 'echo $OMP_NUM_THREADS >> {noted}' EXIT"], cpus_per_task=2)
    trials = [
        Outcome(lambda n=n: two.run([*TRIAL, "+sleep=4"], tmp_path / str(n), never, always))
        for n in range(2)
    ]
    until(lambda: len(ran()) == 2)
    assert [line.split()[1] for line in queue()] == ["RUNNING"] * 2
    assert trials[0].get() == trials[1].get()
    assert len({job for _, _, job in ran()}) == 2
    until(lambda: noted.read_text() == "2\n2\n")


@pytest.mark.parametrize("kind", ["fail", "mistake"])
def test_exceptions_come_back(executor, kind, tmp_path):
    with pytest.raises((TrialError, UserError)) as caught:
        executor().run([*TRIAL, f"+do={kind}"], tmp_path / "trial", never, always)
    error = caught.value
    if kind == "mistake":
        assert str(error) == "a rule must hold, got none; mend it."
    else:
        assert (error.kind, str(error)) == ("ValueError", "as asked")
        assert 'raise ValueError("as asked")' in error.trace


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_trials_end_when_told_to_running_or_waiting(executor, ran, tmp_path, how):
    two = executor(2, cpus_per_task=4)  # all that there are
    trials = [
        Outcome(lambda n=n: two.run([*TRIAL, "+do=hang"], tmp_path / str(n), never, always))
        for n in range(2)
    ]
    until(lambda: len(ran()) == 1 and len(queue()) == 2)
    began = time.monotonic()
    getattr(two, how)()
    assert [type(trial.get()) for trial in trials] == [StoppedError, StoppedError]
    until(lambda: queue() == [], seconds=15)
    assert time.monotonic() - began < 15
    with pytest.raises(StoppedError):
        two.run(TRIAL, tmp_path / "next", never, always)
    assert len(ran()) == 1


def test_a_job_that_somebody_cancels_is_told(executor, ran, tmp_path):
    one = executor()
    trial = Outcome(lambda: one.run([*TRIAL, "+do=hang"], tmp_path / "trial", never, always))
    until(ran)
    said("scancel", ran()[0][2])
    error = trial.get()
    assert type(error) is WorkerDiedError
    assert re.search(r"its SLURM job \d+ has ended as CANCELLED", str(error))
    assert (tmp_path / "trial" / LOG_FILE).stat().st_size > 0


def test_a_job_that_dies_is_told_with_its_last_words(executor, tmp_path):
    with pytest.raises(WorkerDiedError, match=r"has ended as FAILED, exit code 137:0: .*Killed"):
        executor().run([*TRIAL, "+do=die"], tmp_path / "trial", never, always)


def test_a_job_in_the_queue_again_begins_its_trial_again(executor, ran, tmp_path):
    one = executor()
    again, records = [*TRIAL, "+do=hang once"], []

    def go():
        return one.run(again, tmp_path / "trial", lambda r: records.append(r) or False, always)

    trial = Outcome(go)
    until((tmp_path / "trial.hung").exists)
    said("scontrol", "requeue", ran()[0][2])
    assert type(trial.get()) is RequeuedError
    assert [record.number for record in records] == [1, 2]
    assert go().epochs == 6
    assert [record.number for record in records[2:]] == [1, 2, 3, 4, 5, 6]
    assert len({job for _, _, job in ran()}) == 1


@pytest.mark.slow
def test_a_job_whose_time_is_over_begins_its_trial_again(executor, ran, tmp_path):
    one = executor(time=1)
    with pytest.raises(RequeuedError):
        one.run([*TRIAL, "+do=hang once"], tmp_path / "trial", never, always)
    assert one.run([*TRIAL, "+do=hang once"], tmp_path / "trial", never, always).epochs == 6


def test_an_experiment_survives_whatever_ends_its_jobs(executor, ran, plan, tmp_path):
    plan = plan("strategy=shared", "search.n_trials=4")
    plan = replace(plan, overrides=[*plan.overrides, "+do=hang once"])
    one_step = replace(plan.strategy, steps=plan.strategy.steps[:1])
    from runners import make

    experiment = Experiment(
        replace(plan, strategy=one_step), make(str(tmp_path)), executor=executor(2)
    )
    over = Outcome(experiment.run)
    ways = [
        ("scancel",),
        ("scontrol", "requeue"),
        ("scancel", "--signal=USR2"),  # what SLURM sends before the time is over
        ("scancel", "--signal=KILL"),
    ]
    for number, way in enumerate(ways):
        hung = tmp_path / f"shared-{number}.hung"
        until(hung.exists)
        jobs = [job for name, _, job in ran() if name == hung.stem]
        said(*way, jobs[-1])
    best = over.get()
    assert not isinstance(best, Exception), best
    rows = read_csv(plan.folder / "trials.csv")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4
    curves = read_csv(plan.folder / "curves.csv")
    assert len(curves) == 4 * 6
    assert len({(row["number"], row["phase"], row["epoch"]) for row in curves}) == 4 * 6
    assert len(ran()) == 8


@pytest.fixture
def killed_search(ran, tmp_path):
    """Return after a search has been killed whose job runs; its folder is left as it is."""
    code = f"""
import sys
sys.path[:0] = {[str(REPOSITORY), str(HERE), str(HERE.parent)]!r}
from pathlib import Path
from tl_hpo.search.executors.slurm import SlurmExecutor
from tl_hpo.search.executors.submission import Submitter
from tl_hpo.search.executors.wire import Setup
setup = Setup("runners:make", {{"folder": {str(tmp_path)!r}}}, sys.path)
make = lambda folder, name: Submitter(
    folder, name, {{"time": 5, "mem": "200M"}}, [{NOTE_JOB!r}]
)
executor = SlurmExecutor(setup, make, 1, Path({str(tmp_path / ".slurm")!r}))
trial = ["model=vgg16", "optimizer=adam", "optimizer.lr=0.01", "+do=hang"]
executor.run(trial, Path({str(tmp_path / "trial")!r}), lambda record: False, lambda result: True)
"""
    search = subprocess.Popen([sys.executable, "-c", code])
    until(ran)
    search.send_signal(signal.SIGKILL)
    search.wait()
    assert len(queue()) == 1


def test_the_next_search_ends_the_jobs_of_one_that_was_killed(killed_search, executor, tmp_path):
    assert executor().run(TRIAL, tmp_path / "next", never, always).epochs == 6


@pytest.mark.slow
def test_the_jobs_of_a_search_that_was_killed_end_by_themselves(killed_search):
    until(lambda: queue() == [])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"gpus_per_node": 1}, "Invalid generic resource (gres) specification"),
        ({"additional_parameters": {"frob": 1}}, "unrecognized option '--frob=1'"),
    ],
)
def test_what_slurm_does_not_accept_is_told_in_its_own_words(executor, parameters, words, tmp_path):
    with pytest.raises(UserError) as error:
        executor(**parameters).run(TRIAL, tmp_path / "trial", never, always)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_jobs_that_cannot_begin_are_told(executor, tmp_path):
    lost = executor(setup=["echo no such module >&2", "exit 3"])
    with pytest.raises(UserError, match=r"exit code 3:0: no such module\); install on"):
        lost.run(TRIAL, tmp_path / "trial", never, always)
