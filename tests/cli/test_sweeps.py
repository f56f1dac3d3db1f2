"""A storage's password, in a sweep that fails."""

from pathlib import Path

import pytest

SECRET = "only-for-the-database"
NOBODY = "127.0.0.1:9"  # nothing listens there


@pytest.fixture
def sweep(command, image_folder, tiny):
    """Sweep over two strategies with such a storage; the password must be nowhere afterwards."""

    def run(storage, *more):
        arguments = ["-m", "dataset=folder", f"dataset.root={image_folder()}", *tiny]
        outcome = command("optimize", *arguments, f"study.storage='{storage}'", *more)
        assert outcome.code == 2, outcome.err
        assert "Traceback" not in outcome.err
        assert SECRET not in outcome.out + outcome.err
        for path in Path.cwd().rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
        return outcome

    return run


@pytest.mark.parametrize(
    "storage",
    [
        f"postgresql://tests:{SECRET}@{NOBODY}/db",
        f"postgresql://tests:half@{SECRET}@{NOBODY}/db",
        f"postgresql://{NOBODY}/db?user=tests&password={SECRET}",
        f"nonsense://tests:{SECRET}@{NOBODY}/db",
    ],
)
def test_a_server_that_does_not_answer(sweep, storage):
    assert "study.storage must" in sweep(storage, "strategy=joint,shared").err
    assert Path("runs/multirun.yaml").exists()


@pytest.mark.parametrize("wrong", ["strategy=joint,nonsense", "strategy=joint study.heartbeat=0"])
def test_a_job_that_does_not_begin(sweep, wrong):
    sweep(f"postgresql://tests:{SECRET}@{NOBODY}/db", *wrong.split())
    assert Path("runs/multirun.yaml").exists()


def test_a_launcher_that_would_write_it_to_files(sweep):
    launcher = "hydra/launcher=submitit_local"
    told = sweep(f"postgresql://tests:{SECRET}@{NOBODY}/db", "strategy=joint,shared", launcher).err
    assert "tests:***@" in told
    assert launcher in told
    assert not Path("runs").exists()
