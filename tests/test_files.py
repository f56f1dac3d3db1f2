import hashlib
import json
import signal
import subprocess
import sys

import pytest

from tl_hpo.files import (
    checksum,
    locked,
    read_csv,
    remove_leftovers,
    replacing,
    waiting_lock,
    write_csv,
    write_json,
)


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


@pytest.mark.parametrize("length", [0, 1, 1_000_003])
def test_checksum_is_that_of_all_bytes(tmp_path, length):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (length // 256) + b"x" * (length % 256))
    expected = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert checksum(path) == expected
    with path.open("rb") as file:
        file.read(7)
        assert checksum(file) == expected


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


HOLD = """
import logging, os, signal, sys
from pathlib import Path
from tl_hpo.files import waiting_lock
logging.basicConfig(level=logging.INFO)
with waiting_lock(Path(sys.argv[1])):
    print("held", flush=True)
    if sys.argv[2:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_waiting_lock_is_waited_for_and_says_so(tmp_path):
    path = tmp_path / "new" / "x.lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with waiting_lock(path):
        other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "waiting for another process" in other.stderr.readline()
    assert other.communicate(timeout=60)[0] == "held\n"
    assert other.returncode == 0


def test_a_waiting_lock_ends_with_its_block_and_with_its_process(tmp_path, caplog):
    path = tmp_path / "x.lock"
    with pytest.raises(KeyboardInterrupt), waiting_lock(path):
        raise KeyboardInterrupt
    command = [sys.executable, "-c", HOLD, str(path), "and die"]
    killed = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (killed.stdout, killed.stderr) == (b"held\n", b"")
    with caplog.at_level("INFO"), waiting_lock(path):
        assert not caplog.records


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "kept.csv").touch()
    (tmp_path / ".trials.csv.1.tmp").touch()
    (tmp_path / "trials" / ".model.2.tmp").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["kept.csv", "trials"]
