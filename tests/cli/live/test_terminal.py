"""optimize.py in a terminal of its own, and where there is none."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tl_hpo.files import read_csv

REPOSITORY = Path(__file__).resolve().parents[3]
ROWS, COLUMNS = 24, 60
CONTROL_C = b"\x03"
ESCAPE = "\x1b"


def in_a_terminal(command, folder):
    """Start a command in a terminal of its own; return it with the other end of the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def lead():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment | {"TERM": "xterm", "PYTHONPATH": str(REPOSITORY)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lead,
    )
    os.close(theirs)
    return process, ours


def read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # whoever had the other end has gone
        return b""


@pytest.mark.slow
def test_a_terminal_shows_the_table_and_anything_else_plain_lines(
    command, image_folder, tiny, tmp_path
):
    arguments = [
        "dataset=folder", f"dataset.root={image_folder()}", *tiny, "audit=false",
        "search.n_trials=1", "delimiting_layer=0.9", "finetune.epochs=40", "finetune.patience=null",
        "pruner=none", "executor=inline", "search.models=[test_resnet]",
    ]  # fmt: skip
    process, terminal = in_a_terminal([str(REPOSITORY / "optimize.py"), *arguments], tmp_path)
    told, stopped = b"", False
    while piece := read(terminal):
        told += piece
        if not stopped and b"fine-tuning" in told:
            os.write(terminal, CONTROL_C)
            stopped = True
    assert process.wait(60) == 130
    os.close(terminal)
    text = told.decode()
    assert "1 of 2, shared: 0 of 1 trials" in text
    for word in ("Best so far", "Worker", "fine-tuning"):
        assert word in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # there is a cursor
    after = text[text.rindex("\x1b[2K") :]
    assert "interrupted: repeat the command" in after
    assert "Worker" not in after  # nothing of the table is left

    outcome = command("optimize", *arguments, "progress=auto")
    assert outcome.code == 0, outcome.err
    assert len(read_csv(tmp_path / "runs/folder/shared/trials.csv")) == 1
    assert ESCAPE not in outcome.out + outcome.err
    assert "shared trial 0 (1 of 1)  accuracy" in outcome.out
    unknown = command("optimize", *arguments, "progress=bars")
    assert unknown.code == 2
    assert "progress must be a known name, got 'bars'" in unknown.err


@pytest.mark.slow
def test_a_worker_process_does_not_draw_over_the_table(image_folder, tiny, tmp_path):
    process, terminal = in_a_terminal(
        [
            str(REPOSITORY / "optimize.py"), "dataset=folder", f"dataset.root={image_folder()}",
            *tiny, "audit=false", "search.n_trials=1", "delimiting_layer=0.9",
            "finetune.epochs=20", "finetune.patience=null", "pruner=none",
        ],
        tmp_path,
    )  # fmt: skip
    told = b""
    while piece := read(terminal):
        told += piece
    assert process.wait(60) == 0, told.decode()
    os.close(terminal)
    assert b"Best so far" in told
    assert b"batch/s" not in told
