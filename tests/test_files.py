import json
import subprocess
import sys

import pytest

from tl_hpo.files import locked, read_csv, remove_leftovers, replacing, write_csv, write_json


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"kept": True})
    with pytest.raises(TypeError):
        write_json(path, {"half": "written", "then": object()})
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert json.loads(path.read_text()) == {"kept": True}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for content in ("one", "two"):
        with replacing(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["two"]


def test_csv_is_read_back_as_text_with_empty_cells_for_none(tmp_path):
    write_csv(tmp_path / "t.csv", ["a", "b", "c"], [{"a": 1, "b": None}, {"a": "ä,\n", "c": 2.5}])
    assert read_csv(tmp_path / "t.csv") == [
        {"a": "1", "b": "", "c": ""},
        {"a": "ä,\n", "b": "", "c": "2.5"},
    ]


def test_a_locked_folder_is_refused_until_it_is_free_again(tmp_path):
    with locked(tmp_path):
        code = (
            "import sys; from tl_hpo.files import locked; from tl_hpo.errors import UserError\n"
            "try:\n    with locked(sys.argv[1]): sys.exit(0)\n"
            "except UserError as error: sys.exit(2 if 'one optimize.py' in str(error) else 1)"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        assert subprocess.run(command, check=False).returncode == 2
    assert subprocess.run(command, check=False).returncode == 0


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "kept.csv").touch()
    (tmp_path / ".trials.csv.1.tmp").touch()
    (tmp_path / "trials" / ".model.2.tmp").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["kept.csv", "trials"]
