"""A study.db that is damaged or held by another program, and a run folder that two want."""

import os
import random
import sqlite3
import threading
from contextlib import closing

import pytest

BRIEFLY = "search.max_hours=0.00001"  # one trial, and the report


def with_the_header_gone(path):
    with path.open("r+b") as file:
        file.write(b"not a database at all")


def cut_in_half(path):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path):
    os.truncate(path, 0)


def with_noise_within(path):
    noise = random.Random(0)
    with path.open("r+b") as file:
        for place in range(4096, path.stat().st_size - 512, 4096):
            file.seek(place)
            file.write(noise.randbytes(512))


DAMAGES = [with_the_header_gone, cut_in_half, emptied, with_noise_within]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_told_kept_and_replaced_by_its_backup(
    command, experiment, is_whole, run_folder, completed, damage
):
    arguments = experiment()
    assert command("optimize", *arguments, BRIEFLY).code == 0
    assert completed() == 1
    first = (run_folder / "trials.csv").read_text().splitlines()[1]
    damage(run_folder / "study.db")
    damaged = (run_folder / "study.db").read_bytes()
    outcome = command("optimize", *arguments)
    assert outcome.code == 0, outcome.err
    assert "is damaged, and kept as study.damaged-1.db" in outcome.out
    assert (run_folder / "study.damaged-1.db").read_bytes() == damaged
    assert "Step shared: 3 trials, 1 of them done before" in outcome.out
    assert (run_folder / "trials.csv").read_text().splitlines()[1] == first  # not run again
    is_whole(run_folder)


@pytest.mark.slow
def test_a_database_that_is_gone_comes_from_its_backup(command, experiment, is_whole, run_folder):
    arguments = experiment()
    assert command("optimize", *arguments, BRIEFLY).code == 0
    (run_folder / "study.db").unlink()
    outcome = command("optimize", *arguments)
    assert "study.db is gone: going on from study.backup.db" in outcome.out
    assert "1 of them done before" in outcome.out
    is_whole(run_folder)


@pytest.mark.slow
def test_damage_that_is_done_while_trials_run(
    command, experiment, is_whole, run_folder, completed, meanwhile
):
    arguments = experiment(12, 2)
    with meanwhile(lambda: completed() > 0, lambda: with_noise_within(run_folder / "study.db")):
        outcome = command("optimize", *arguments)
    assert outcome.code == 2, outcome.out + outcome.err
    assert "nothing may damage the study.db" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    outcome = command("optimize", *arguments)
    assert outcome.code == 0, outcome.err
    assert "kept as study.damaged-1.db" in outcome.out
    is_whole(run_folder, 12, 2)


@pytest.mark.slow
def test_without_a_backup_a_damaged_database_is_refused_and_left(command, experiment, run_folder):
    arguments = experiment()
    assert command("optimize", *arguments, BRIEFLY).code == 0
    for name in ("study.db", "study.backup.db"):
        cut_in_half(run_folder / name)
    damaged = (run_folder / "study.db").read_bytes()
    outcome = command("optimize", *arguments)
    assert outcome.code == 2
    assert "must be a whole database" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert (run_folder / "study.db").read_bytes() == damaged


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True], ids=["before", "while trials run"])
def test_a_database_that_another_program_holds(
    command, experiment, is_whole, run_folder, completed, meanwhile, monkeypatch, begun
):
    for module in ("study", "backup"):
        monkeypatch.setattr(f"tl_hpo.search.{module}.WAIT_SECONDS", 0.5)
    arguments = experiment(12, 2)
    if not begun:
        assert command("optimize", *arguments, BRIEFLY).code == 0
    release, held = threading.Event(), threading.Event()

    def hold():
        with closing(sqlite3.connect(run_folder / "study.db", timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            held.set()
            release.wait(120)
            other.rollback()

    holder = threading.Thread(target=hold)
    if begun:
        with meanwhile(lambda: completed() > 0, holder.start):
            outcome = command("optimize", *arguments)
    else:
        holder.start()
        assert held.wait(60)
        outcome = command("optimize", *arguments)
    release.set()
    holder.join()
    assert outcome.code == 2, outcome.out + outcome.err
    assert "no other program may hold the study.db" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert command("optimize", *arguments).code == 0
    is_whole(run_folder, 12, 2)


@pytest.mark.slow
def test_a_second_command_on_a_run_folder_is_refused_and_the_first_goes_on(
    command, start, experiment, is_whole, run_folder, until
):
    arguments = experiment(6, 2)
    first = start("optimize.py", *arguments, "executor=inline")
    until(first, (run_folder / "trials.csv").exists)
    outcome = command("optimize", *arguments)
    assert outcome.code == 2
    assert "used by one optimize.py at a time" in outcome.err
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    is_whole(run_folder, 6, 2)
