"""Trials as tasks of a Ray cluster: of one that is started for them, and of two nodes."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from contract import PATIENCE_SECONDS, TRIAL, ExecutorContract, always, is_running, never, until
from ray_processes import alone, processes
from sockets import listening

from tl_hpo.errors import UserError
from tl_hpo.processes import python_path
from tl_hpo.search.executors.base import StoppedError, WorkerDiedError
from tl_hpo.search.executors.ray_connection import LOOPBACK, Connection, connect
from tl_hpo.search.executors.ray_shares import make_share
from tl_hpo.search.executors.wire import Setup

pytest.importorskip("ray", reason="Ray is not installed: pip install 'tl_hpo[ray]'")

HERE = Path(__file__).parent
USUAL = {
    **{"address": None, "node_ip_address": LOOPBACK, "dashboard": False, "cores": 2},
    "on_cpu": False,
}


def make(connection, folder, workers=None, gpus=0):
    from tl_hpo.search.executors.ray_cluster import RayExecutor

    setup = Setup("runners:make", {"folder": str(folder)}, [str(HERE), str(HERE.parent)])
    share = make_share(connection.nodes(), workers=workers, cpus=1, gpus=gpus)
    return RayExecutor(connection, setup, share)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"address": "ray://head:10001"}, "must be auto, null or HOST:PORT of the cluster's head"),
        ({"address": "auto"}, "a node of, got auto (Could not find any running Ray instance"),
        ({"address": "127.0.0.1:9"}, "head of a Ray cluster listens, got 127.0.0.1:9 ("),
        ({"address": "127.0.0.1:99999"}, "head of a Ray cluster listens, got 127.0.0.1:99999 ("),
        ({"node_ip_address": None}, "executor.node_ip_address must be an address of this machine"),
        ({"dashboard": "maybe"}, "executor.dashboard must be true or false, got 'maybe'"),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_told(changed, told):
    with alone(), pytest.raises(UserError) as error:
        connect(**(USUAL | changed))
    assert told in str(error.value)


def test_searching_needs_neither_ray_nor_torch():
    code = "import sys, tl_hpo.search.experiment; print({'ray', 'torch'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def ray_folder():
    """Return the folder of a Ray that has been started here."""
    with alone() as folder:
        connection = connect(**USUAL)
        yield folder
        connection.close()


@pytest.fixture
def executor(ray_folder, tmp_path):
    made = []

    def go(workers):
        made.append(make(Connection(owned=False), tmp_path, workers))
        return made[-1]

    yield go
    for each in made:
        each.close()


class TestTheContract(ExecutorContract):
    pass


def test_all_that_is_started_listens_on_loopback_alone(ray_folder, executor, tmp_path):
    executor(1).run(TRIAL, tmp_path / "trial", never, always)
    everyone = [os.getpid(), *processes(ray_folder)]
    assert len(everyone) > 3
    assert set.union(*(listening(pid) for pid in everyone)) == {LOOPBACK}


START = """
import sys
from tl_hpo.search.executors.ray_connection import LOOPBACK, connect
connection = connect(
    address=None, node_ip_address=LOOPBACK, dashboard="dashboard" in sys.argv, cores=1, on_cpu=True
)
print("started", flush=True)
sys.stdin.read()
connection.close()
"""


@pytest.mark.parametrize("more", [[], ["dashboard"]])
def test_so_does_a_ray_whose_environment_says_nothing_and_it_wants_a_token(tmp_path, more):
    if more:
        pytest.importorskip("aiohttp_cors", reason="the dashboard needs ray[default]")
    with alone() as folder:
        said = {key: text for key, text in os.environ.items() if not key.startswith("RAY_")}
        own = {
            "RAY_TMPDIR": str(folder),
            "HOME": str(tmp_path),
            "PYTHONPATH": python_path(os.environ),
        }
        driver = subprocess.Popen(
            [sys.executable, "-c", START, *more],
            env=said | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert driver.stdout.readline() == "started\n"
        everyone = [driver.pid, *processes(folder)]
        heard = set.union(*(listening(pid) for pid in everyone))
        told = [Path(f"/proc/{pid}/environ").read_text().split("\0") for pid in everyone]
        driver.communicate(timeout=PATIENCE_SECONDS)
    assert len(everyone) > 3
    assert heard == {LOOPBACK}
    # Processes that name themselves lose what they were told; Ray's servers do not.
    assert sum("RAY_AUTH_MODE=token" in each for each in told) >= 2
    assert not (tmp_path / ".ray").exists()  # Ray would leave the token there, for all to read


def test_a_process_that_is_killed_is_told_and_replaced(executor, ran, tmp_path):
    one = executor(1)
    with pytest.raises(WorkerDiedError, match="worker or node is gone"):
        one.run([*TRIAL, "+do=die"], tmp_path / "trial", never, always)
    assert one.run(TRIAL, tmp_path / "next", never, always).state == "COMPLETE"
    assert len({pid for _, pid, _ in ran()}) == 2


def test_logs_of_a_trial_are_those_of_the_experiment(executor, tmp_path, caplog):
    with caplog.at_level("INFO"):
        executor(1).run([*TRIAL, "+do=log"], tmp_path / "trial", never, always)
    assert ("runners", 20, "the 1st of 2 words") in caplog.record_tuples
    assert ("runners", 30, "the 2nd of 2 words") in caplog.record_tuples


def test_a_folder_that_other_nodes_do_not_see_is_told(executor, tmp_path, monkeypatch):
    one = executor(1)
    monkeypatch.setattr(Path, "touch", lambda path: None)  # as if it had been written elsewhere
    with pytest.raises(UserError, match=r"every node of the cluster sees, got .*/trial, which"):
        one.run(TRIAL, tmp_path / "trial", never, always)


def test_a_trial_leaves_nothing_behind_but_its_files(executor, tmp_path):
    executor(1).run(TRIAL, tmp_path / "trial", never, always)
    assert sorted(path.name for path in (tmp_path / "trial").iterdir()) == [
        "head.safetensors",
        "model",
    ]


def test_an_executor_that_is_closed_in_the_middle_leaves_no_trial(executor, ran, tmp_path):
    two = executor(2)
    trial = [*TRIAL, "+do=hang"]
    caught = []

    def run():
        with pytest.raises(StoppedError):
            two.run(trial, tmp_path / "trial", never, always)
        caught.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: (tmp_path / "ran.txt").exists() and ran())
    two.close()
    thread.join(PATIENCE_SECONDS)
    assert caught
    until(lambda: not is_running(ran()[0][1]))
