"""A Ray cluster of two nodes on this machine, and what becomes of trials when one dies."""

import signal
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from contract import PATIENCE_SECONDS, TRIAL, always, is_running, never, until
from ray_processes import alone
from runners import make as make_runner

from tl_hpo.files import read_csv
from tl_hpo.search.executors.ray_connection import connect
from tl_hpo.search.executors.ray_shares import make_share
from tl_hpo.search.executors.wire import Setup
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.trials import MAX_DEATHS

pytest.importorskip("ray", reason="Ray is not installed: pip install 'tl_hpo[ray]'")

HERE = Path(__file__).parent
N_TRIALS, DONE_BEFORE = 8, 2


@pytest.fixture
def cluster(monkeypatch):
    """Return a cluster whose head has two CPUs, and two GPUs in name."""
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    head = {"num_cpus": 2, "num_gpus": 2, "include_dashboard": False}
    with alone():
        made = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield made
        finally:
            made.shutdown()


@pytest.fixture
def executor(cluster, tmp_path):
    """Join the cluster; return an executor with such a share of it."""
    from tl_hpo.search.executors.ray_cluster import RayExecutor

    made = []

    def go(**wanted):
        connection = connect(
            address=cluster.address,
            node_ip_address="127.0.0.1",
            dashboard=False,
            cores=1,
            on_cpu=False,
        )
        share = make_share(connection.nodes(), **({"workers": None, "cpus": 1} | wanted))
        setup = Setup("runners:make", {"folder": str(tmp_path)}, [str(HERE), str(HERE.parent)])
        made.append(RayExecutor(connection, setup, share))
        return made[-1]

    yield go
    for each in made:
        each.close()


def parent(pid):
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def test_an_experiment_outlives_a_node(cluster, executor, plan, ran, tmp_path, caplog):
    other = cluster.add_node(num_cpus=2)
    raylet = other.all_processes["raylet"][0].process
    four = executor(gpus=0)
    assert four.workers == 4
    small = plan("strategy=joint", f"search.n_trials={N_TRIALS}")
    small = replace(small, overrides=[*small.overrides, "+sleep=1.5"])
    experiment = Experiment(small, make_runner(str(tmp_path)), executor=four)
    thread = threading.Thread(target=experiment.run)
    thread.start()

    def rows():
        path = small.folder / "trials.csv"
        return read_csv(path) if path.exists() else []

    def there():
        """Return the trials that run on the other node now."""
        done = [row["number"] for row in rows() if row["state"] == "COMPLETE"]
        running = [(name, pid) for name, pid, _ in ran() if name.partition("-")[2] not in done]
        return [name for name, pid in running if is_running(pid) and parent(pid) == raylet.pid]

    until(lambda: len([r for r in rows() if r["state"] == "COMPLETE"]) >= DONE_BEFORE and there())
    before = [row for row in rows() if row["state"] == "COMPLETE"]
    raylet.send_signal(signal.SIGKILL)
    raylet.wait()
    thread.join(2 * PATIENCE_SECONDS)
    assert not thread.is_alive()

    after = rows()
    assert [row["number"] for row in after] == [str(number) for number in range(N_TRIALS)]
    assert {row["state"] for row in after} == {"COMPLETE"}
    assert all(row in after for row in before)
    times = Counter(name for name, _, _ in ran())
    again = {name for name, count in times.items() if count > 1}
    assert again
    assert not again & {f"joint-{row['number']}" for row in before}
    assert max(times.values()) <= MAX_DEATHS
    told = [text for text in caplog.messages if "runs again: its worker or node is gone" in text]
    assert len(told) >= len(again)


def test_a_process_serves_the_gpu_that_it_began_with_alone(executor, ran, tmp_path):
    two = executor(gpus=1)
    assert two.workers == 2
    for number in range(6):
        threads = [
            threading.Thread(
                target=two.run, args=(TRIAL, tmp_path / f"{number}-{each}", never, always)
            )
            for each in range(1 + number % 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen = [(pid, gpu) for _, pid, gpu in ran()]
    assert len(seen) == 9
    assert {gpu for _, gpu in seen} == {"0", "1"}
    assert len(set(seen)) == len({pid for pid, _ in seen})
