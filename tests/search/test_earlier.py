"""What earlier run folders hold, read without leaving a trace in them."""

import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from malicious import Touches
from simulated import Layered, SimulatedRunner
from tampering import CALL, prepare

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.search.earlier import configurations
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.strategy import Strategy
from tl_hpo.search.study import open_storage


def state_of(folder):
    """Names, bytes and times of all that lies in a folder."""
    return {
        path.relative_to(folder): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in [folder, *folder.rglob("*")]
    }


def described(row):
    """Settings of a row of trials.csv, its depth included."""
    keys = ("model", "head_optimizer", "head_lr", "finetune_optimizer", "finetune_lr")
    return tuple(str(row[key]) for key in (*keys, "delimiting_layer"))


def numbers(found):
    return [(each.step, each.number) for each in found]


def test_completed_trials_come_best_first(past):
    folder = past("shared")
    rows = [row for row in read_csv(folder / "trials.csv") if row["state"] == "COMPLETE"]
    best_first = sorted(rows, key=lambda row: -float(row["val_accuracy"]))
    reference = list(dict.fromkeys(described(row) for row in best_first))
    found = configurations([folder])
    assert [
        described(each.settings | {"delimiting_layer": each.layer}) for each in found
    ] == reference
    assert [each.objective for each in found] == sorted(
        (each.objective for each in found), reverse=True
    )
    assert {each.folder for each in found} == {folder}


def test_cancelled_and_failed_trials_are_no_examples(past):
    fails = Layered(lambda n: RuntimeError("out of memory") if n == 2 else None)
    folder = past("shared", "pruner=early_cancel", "search.n_trials=12", runner=fails)
    rows = read_csv(folder / "trials.csv")
    assert {"COMPLETE", "PRUNED", "FAIL"} == {row["state"] for row in rows}
    complete = {(r["step"], int(r["number"])) for r in rows if r["state"] == "COMPLETE"}
    assert set(numbers(configurations([folder]))) <= complete


def test_values_that_are_no_numbers_are_no_examples(past):
    class Broken(Layered):
        def score(self, overrides):
            return float("inf") if len(self.asked) == 1 else super().score(overrides)

    found = configurations([past("shared", runner=Broken())])
    assert ("shared", 0) not in numbers(found)
    assert found


def test_repeats_are_no_examples(past):
    def twice(plan):
        first = plan.strategy.steps[0]
        return replace(plan, strategy=Strategy("x", (first, replace(first, name="repeats"))))

    folder = past("shared", change=twice)
    assert {row["step"] for row in read_csv(folder / "trials.csv")} == {"shared", "repeats"}
    assert {each.step for each in configurations([folder])} == {"shared"}


def test_equal_configurations_count_once_the_earliest_of_equals(past):
    one = ("search.lr={low: 0.01, high: 0.01}", "search.models=[vgg16]", "search.optimizers=[sgd]")
    folder = past("shared", *one)
    found = configurations([folder])
    assert [each for each in numbers(found) if each[0] == "shared"] == [("shared", 0)]


def test_folders_take_turns_by_rank_whatever_their_objectives(past):
    class Hard(Layered):
        """Another dataset: all scores lie below the first one's."""

        def score(self, overrides):
            return super().score(overrides) - 10

    easy, hard = past("shared"), past("separate", name="hard", runner=Hard())
    alone = [configurations([easy]), configurations([hard])]
    both = configurations([hard, easy])
    assert [each.folder for each in both[:4]] == [hard, easy, hard, easy]
    assert both[0] == alone[1][0]
    assert both[1] == alone[0][0]
    assert len(both) == len(alone[0]) + len(alone[1])


def test_what_two_folders_share_counts_once(past, tmp_path):
    folder = past("shared")
    shutil.copytree(folder, tmp_path / "copy")
    found = configurations([folder, tmp_path / "copy", folder])
    assert found == configurations([folder])


def test_reading_leaves_the_folder_as_it_is(past):
    folder = past("separate_steps")
    before = state_of(folder)
    assert configurations([folder])
    assert state_of(folder) == before


def test_a_folder_that_cannot_be_written_can_be_read(past):
    folder = past("shared")
    reference = configurations([folder])
    (folder / "study.db").chmod(0o444)
    folder.chmod(0o555)
    before = state_of(folder)
    try:
        assert configurations([folder]) == reference
        assert state_of(folder) == before
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("name", ["what?", "50%25", "{x}#1", "a b'c"])
def test_the_folder_may_have_any_name(past, name):
    assert configurations([past("shared", name=name)])


def test_a_relative_folder_is_read(past, monkeypatch):
    folder = past("shared")
    monkeypatch.chdir(folder.parent)
    assert configurations([Path(folder.name)])


KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")  # so that it writes before it commits
connection.execute("DELETE FROM trial_user_attributes")
os._exit(0)
"""


def test_what_a_killed_writer_left_half_done_does_not_count(past):
    folder = past("shared")
    reference = configurations([folder])
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(folder / "study.db")], check=True)
    assert (folder / "study.db-journal").stat().st_size > 0
    before = state_of(folder)
    assert configurations([folder]) == reference
    assert state_of(folder) == before


def test_an_experiment_that_is_being_written_can_be_read(past):
    folder = past("shared")
    reference = configurations([folder])
    with closing(sqlite3.connect(folder / "study.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM trials")
        assert configurations([folder]) == reference
        writer.rollback()


def refused(folder, why):
    before = state_of(folder) if folder.exists() else None
    rule = rf"search\.warm_start must name run folders of optimize\.py, got .*{why}.*leave it out"
    with pytest.raises(UserError, match=rule) as caught:
        configurations([folder])
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (state_of(folder) if folder.exists() else None) == before


def test_a_missing_folder_is_refused(tmp_path):
    refused(tmp_path / "missing", "no study.db")


def test_a_folder_without_a_study_is_refused(tmp_path):
    refused(tmp_path, "no study.db")


@pytest.mark.parametrize("content", [b"text, and no database\n" * 100, b"SQLite format 3\0junk"])
def test_a_file_that_is_no_database_is_refused(tmp_path, content):
    (tmp_path / "study.db").write_bytes(content)
    refused(tmp_path, "cannot be read")


def test_a_damaged_database_is_refused(past):
    path = past("shared") / "study.db"
    content = path.read_bytes()
    path.write_bytes(content[:8192] + os.urandom(len(content) - 8192))
    refused(path.parent, "cannot be read")


def test_a_foreign_database_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("CREATE TABLE studies (flavour TEXT)")
        connection.commit()
    refused(tmp_path, "study.db")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "study.db").touch()
    refused(tmp_path, "no completed trial")


def test_a_study_of_another_program_is_refused(tmp_path):
    storage = open_storage(tmp_path / "study.db")
    study = optuna.create_study(storage=storage, direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.engine.dispose()
    refused(tmp_path, "no completed trial")


def test_an_experiment_without_a_completed_trial_is_refused(past, tmp_path):
    with pytest.raises(RuntimeError):
        past("shared", runner=SimulatedRunner(lambda n: ValueError("broken")))
    refused(tmp_path / "earlier", "no completed trial")


def test_what_an_earlier_study_says_is_data(past, plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "only-mine")
    folder = past("shared")
    prepare(folder, "overrides", f"+head.optimizer.more={CALL}")
    prepare(folder, "overrides", "name=${oc.env:SECRET}")
    code = pickle.dumps(Touches(tmp_path / "executed")).hex()
    with closing(sqlite3.connect(folder / "study.db")) as database, database:
        database.execute(
            "insert into trial_system_attributes (trial_id, key, value_json) "
            "select trial_id, 'cma:optimizer:0', ? from trials",
            [json.dumps(code)],
        )
    found = configurations([folder])
    assert "name=${oc.env:SECRET}" in found[0].overrides
    warm = plan("strategy=shared", "search.optimizers=[sgd,adam,nadam]", "sampler=cmaes")
    warm = replace(warm, warm_start=found, warm_folders=[folder], warm_trials=3)
    runner = Layered()
    Experiment(warm, runner).run()
    assert not any("oc.env" in text or "_target_" in text for a in runner.asked for text in a)
    assert "only-mine" not in (warm.folder / "warm_start.json").read_text()
    assert not list(tmp_path.rglob("executed"))


def test_a_study_that_is_really_code_is_refused(tmp_path):
    (tmp_path / "study.db").write_bytes(pickle.dumps(Touches(tmp_path / "executed")))
    with pytest.raises(UserError, match=r"its study\.db cannot be read") as error:
        configurations([tmp_path])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()
