"""A clock that jumps back: while trials run, and between a command and its repetition."""

import os
import signal
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


@pytest.mark.slow
def test_a_clock_that_jumps_back(start, experiment, is_whole, run_folder, completed, until, clock):
    environment, set_back = clock
    arguments = [*experiment(12, 4), "executor=inline"]
    process = start("optimize.py", *arguments, **environment)
    until(process, lambda: completed() >= 1)
    set_back(3)
    until(process, lambda: completed() >= 3)
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
