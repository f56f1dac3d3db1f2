"""A clock that jumps back: while trials run, and between a command and its repetition."""

import os
import signal
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

import pytest

from tl_hpo.files import read_csv

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture
def clock(tmp_path):
    """Return the environment of a process whose clock `set_back` sets, and that function."""
    if not LIBRARIES:
        pytest.skip("Debian's package faketime is not here")
    offset = tmp_path / "offset"

    def set_back(days: int) -> None:
        waiting = tmp_path / "offset.new"
        waiting.write_text(f"-{days}d\n")
        os.replace(waiting, offset)

    set_back(0)
    environment = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return environment, set_back


def stored(path: Path) -> int:
    """Return how many trials the storage holds as complete; trials.csv may be a while behind."""
    if not path.exists():
        return 0
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as database:
        ((count,),) = database.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
        return count
    return 0  # it has no tables yet


@pytest.mark.slow
def test_a_clock_that_jumps_back(start, experiment, is_whole, run_folder, until, clock):
    environment, set_back = clock
    arguments = [*experiment(12, 4), "executor=inline"]
    process = start("optimize.py", *arguments, **environment)
    until(process, lambda: stored(run_folder / "study.db") >= 1)
    set_back(3)
    until(process, lambda: stored(run_folder / "study.db") >= 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    set_back(10)
    again = start("optimize.py", *arguments, **environment)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors

    is_whole(run_folder, 12, 4)
    began = [datetime.fromisoformat(row["started"]) for row in read_csv(run_folder / "trials.csv")]
    assert (began[0] - began[-1]).days >= 9  # the clock did jump
    elapsed = [float(row["elapsed_seconds"]) for row in read_csv(run_folder / "curves.csv")]
    assert elapsed == sorted(elapsed)  # and no figure runs backwards
    assert all(float(row["seconds"]) >= 0 for row in read_csv(run_folder / "trials.csv"))
    assert 0 <= elapsed[0] <= elapsed[-1] < 600
