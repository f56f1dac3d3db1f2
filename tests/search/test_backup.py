import sqlite3
from contextlib import closing

import optuna
import pytest

from tl_hpo.errors import UserError
from tl_hpo.search.backup import back_up, backup_of, remove, restore
from tl_hpo.search.study import open_storage


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="one", storage=open_storage(path))
    for value in (0.1, 0.2):
        study.tell(study.ask(), value)
    return path


def values(path):
    study = optuna.load_study(study_name="one", storage=f"sqlite:///{path}")
    return [trial.value for trial in study.trials]


def test_a_whole_database_is_left_alone(database, caplog):
    back_up(database)
    before = database.read_bytes()
    restore(database)
    assert database.read_bytes() == before
    assert not caplog.records
    assert values(backup_of(database)) == values(database) == [0.1, 0.2]


def test_a_copy_can_be_made_while_another_connection_reads(database):
    with closing(sqlite3.connect(database)) as reader:
        cursor = reader.execute("SELECT * FROM trials")
        cursor.fetchone()
        back_up(database)
    assert values(backup_of(database)) == [0.1, 0.2]


def test_what_is_damaged_is_kept_every_time(database, caplog):
    back_up(database)
    for number in (1, 2):
        database.write_bytes(b"damaged" * number)
        restore(database)
        assert values(database) == [0.1, 0.2]
        kept = database.with_name(f"study.damaged-{number}.db")
        assert kept.read_bytes() == b"damaged" * number
        assert f"kept as {kept.name}" in caplog.records[-1].getMessage()


def test_a_damaged_database_never_takes_the_place_of_its_backup(database):
    back_up(database)
    with database.open("r+b") as file:
        for place in range(4096, database.stat().st_size - 512, 4096):
            file.seek(place)
            file.write(b"\x17" * 512)
    with pytest.raises(sqlite3.DatabaseError):
        back_up(database)
    assert values(backup_of(database)) == [0.1, 0.2]


def test_nothing_to_go_on_from(tmp_path, database):
    restore(tmp_path / "absent" / "study.db")
    (tmp_path / "empty.db").touch()
    restore(tmp_path / "empty.db")
    database.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"must be a whole database, got .*has no backup"):
        restore(database)
    assert database.read_bytes() == b"damaged"


def test_a_database_that_another_holds_is_not_damaged(database, monkeypatch):
    back_up(database)
    monkeypatch.setattr("tl_hpo.search.backup.WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            restore(database)
    assert not list(database.parent.glob("*damaged*"))


def test_both_are_removed_together(database):
    back_up(database)
    remove(database)
    assert not list(database.parent.glob("study*"))
