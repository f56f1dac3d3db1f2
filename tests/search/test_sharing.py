"""Several processes on one experiment in a real PostgreSQL, some of them killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from postgresql_server import PASSWORD, programs, server
from simulated import SimulatedRunner

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.sharing import is_surplus, is_taken_over, kept_alive, revive_dead
from tl_hpo.search.storages import open_shared_storage
from tl_hpo.search.study import WAITS_FOR

HERE = Path(__file__).parent
PATIENCE_SECONDS = 180

pytestmark = pytest.mark.skipif(
    programs() is None or os.getuid() != 0,
    reason="needs Debian's postgresql, and root to start it as its own user",
)


@pytest.fixture(scope="module")
def url():
    with server() as url:
        yield url


@pytest.fixture
def storage(url, tmp_path):
    """Return a storage of the experiment ``tmp_path``/run, for one process of several."""
    opened = []

    def go(seconds=1):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        opened.append(open_shared_storage(url, folder, seconds))
        return opened[-1]

    yield go
    for each in opened:
        each._backend.engine.dispose()


def start(url, folder, seconds, *overrides):
    return subprocess.Popen(
        [sys.executable, str(HERE / "sharer.py"), url, str(folder), str(seconds), *overrides],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(reached):
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        if reached():
            return
        time.sleep(0.05)
    raise AssertionError("never came about")


@pytest.mark.slow
def test_four_processes_of_which_two_are_killed(url, tmp_path):
    folder, n_trials, layers = tmp_path / "runs" / "shared", 16, 6
    asked = (f"search.n_trials={n_trials}", f"search.layer_trials={layers}")
    processes = [start(url, folder, 0.5, *asked) for _ in range(4)]
    until(lambda: (folder / "trials.csv").exists() and len(read_csv(folder / "trials.csv")) >= 6)
    for process in processes[:2]:
        process.send_signal(signal.SIGKILL)
    told = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
    assert [process.returncode for process in processes[2:]] == [0, 0], told
    assert told[2][0] == told[3][0]  # both name the same best trial

    rows = read_csv(folder / "trials.csv")
    assert [row["step"] for row in rows] == ["shared"] * n_trials + ["layers"] * layers
    assert {row["state"] for row in rows} == {"COMPLETE"}
    ran = (folder / "ran.txt").read_text().split()
    assert len(ran) <= len(rows) + 2  # what was killed ran again, and nothing else
    curves = read_csv(folder / "curves.csv")
    assert len({tuple(row[k] for k in ("step", "number", "phase", "epoch")) for row in curves}) == (
        len(curves)
    )
    best = json.loads((folder / "best.json").read_text())
    assert best["val_accuracy"] == max(float(row["val_accuracy"]) for row in rows)
    model = (folder / "best_model" / "model.safetensors").read_text()
    assert float(model) == best["val_accuracy"]
    assert not list((folder / "trials").glob("*/model"))
    assert not list(folder.rglob("*.tmp"))


def ask(storage, name="s"):
    study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    return study, study.ask()


def test_the_dead_are_run_again_and_the_living_are_not(storage):
    one, other = storage(), storage()
    study, dead = ask(one)
    _, living = ask(one)
    ask(one)  # whoever runs it dies before its first sign of life
    _, double = ask(one)
    double.set_user_attr(WAITS_FOR, dead.number)
    seen_by_other = optuna.load_study(study_name="s", storage=other)
    with kept_alive(study, dead):
        pass  # one sign of life, and no more
    with kept_alive(study, living):
        revive_dead(seen_by_other)
        assert states(seen_by_other) == [TrialState.RUNNING] * 4
        until(lambda: (revive_dead(seen_by_other), states(seen_by_other))[1][0].name == "WAITING")
        until(lambda: (revive_dead(seen_by_other), states(seen_by_other))[1][2].name == "WAITING")
        assert [state.name for state in states(seen_by_other)] == [
            "WAITING", "RUNNING", "WAITING", "RUNNING",
        ]  # fmt: skip
        assert is_taken_over(study, dead)
        assert not is_taken_over(study, living)
        again = seen_by_other.ask()
        assert again.number == dead.number
        with kept_alive(seen_by_other, again):
            revive_dead(study)  # its old heartbeat is forgotten
            assert states(study)[again.number] == TrialState.RUNNING
            assert is_taken_over(study, dead)


def states(study):
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def test_no_more_trials_are_run_than_asked(storage):
    study, first = ask(storage())
    _, second = ask(storage())
    assert not is_surplus(study, first, 1)
    assert is_surplus(study, second, 1)
    assert not is_surplus(study, second, 2)


def test_experiments_of_one_database_do_not_mix(url, storage, plan, tmp_path):
    ask(storage())
    other = tmp_path / "other" / "run"
    other.mkdir(parents=True)
    assert optuna.get_all_study_names(open_shared_storage(url, other, 1)) == [""]
    everything = RDBStorage(url.replace("://", "+psycopg://", 1)).get_all_studies()
    names = {study.study_name for study in everything}
    assert f"{tmp_path.name}/run: s" in names
    p = plan("search.n_trials=2", "search.layer_trials=1")
    Experiment(p, SimulatedRunner(), storage()).run()
    assert len(read_csv(p.folder / "trials.csv")) == 3


def test_another_run_folder_of_the_same_name_is_refused(url, tmp_path):
    for place in ("here", "there"):
        (tmp_path / place / "kvasir" / "shared").mkdir(parents=True)
    open_shared_storage(url, tmp_path / "here" / "kvasir" / "shared", 1)
    open_shared_storage(url, tmp_path / "here" / "kvasir" / "shared", 1)
    with pytest.raises(UserError, match="must have one run folder"):
        open_shared_storage(url, tmp_path / "there" / "kvasir" / "shared", 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url: url.replace(PASSWORD, "wrong-word"), "can be reached"),
        (lambda url: url.replace("/postgres", "/absent"), "can be reached"),
        (lambda url: url.rpartition(":")[0] + ":1/postgres", "can be reached"),
        (lambda url: url.replace("postgresql://", "nosuch://"), "must be the URL of a database"),
        (lambda url: "no url", "must be the URL of a database"),
        (lambda url: 7, "must be the URL of a database"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_without_its_password(url, tmp_path, change, told):
    with pytest.raises(UserError) as error:
        open_shared_storage(change(url), tmp_path, 1)
    assert told in str(error.value)
    assert PASSWORD not in str(error.value)
    assert "wrong-word" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("seconds", [0, -1, 1.5, True, "10"])
def test_a_heartbeat_is_a_number_of_seconds(url, tmp_path, seconds):
    with pytest.raises(UserError, match=r"study.heartbeat must be whole seconds"):
        open_shared_storage(url, tmp_path, seconds)
