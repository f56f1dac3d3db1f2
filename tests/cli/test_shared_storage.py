"""study.storage on a real PostgreSQL, as a user types it."""

import os
from pathlib import Path

import pytest
from postgresql_server import PASSWORD, programs, server

from tl_hpo.files import read_csv

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        programs() is None or os.getuid() != 0,
        reason="needs Debian's postgresql, and root to start it as its own user",
    ),
]


def test_an_experiment_in_a_database_leaves_its_password_nowhere(command, image_folder, tiny):
    arguments = [
        *("-m", "dataset=folder", f"dataset.root={image_folder()}", *tiny),
        *("strategy=joint,shared", "search.n_trials=2", "search.layer_trials=1"),
    ]
    with server() as url:
        shared = f"study.storage={url}"
        outcome = command("optimize", *arguments, shared)
        assert outcome.code == 0, outcome.err
        again = command("optimize", *arguments, shared)
        assert again.code == 0, again.err
    assert len(read_csv("runs/folder/joint/trials.csv")) == 2
    assert len(read_csv("runs/folder/shared/trials.csv")) == 3
    assert not Path("runs/folder/shared/study.db").exists()
    for text in (outcome.out, outcome.err, again.out, again.err):
        assert PASSWORD not in text
    assert Path("runs/multirun.yaml").exists()
    for path in Path("runs").rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path
