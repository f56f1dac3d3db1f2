import io
import logging
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from rich.console import Console
from tqdm import tqdm

from tl_hpo.cli.live.board import Board
from tl_hpo.cli.live.display import shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal():
    return Terminal()


@pytest.fixture
def display(outline, terminal):
    """Show a table on the terminal."""

    @contextmanager
    def go(make_board=Board):
        changed = threading.Event()
        console = Console(
            file=terminal, force_terminal=True, force_interactive=True, width=80, height=20
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.setattr(sys, "stderr", terminal)
            board = make_board(outline, 1, changed.set)
            with shown(board, changed, console):
                yield board
            assert sys.stdout is sys.stderr is terminal

    return go


def test_what_is_logged_printed_or_warned_of_stands_above_the_table(display, terminal):
    handler = logging.StreamHandler(terminal)
    logging.getLogger("some.library").addHandler(handler)
    try:
        with display():
            logging.getLogger("some.library").warning("logged")
            print("careful", file=sys.stderr)
            print("prin", end="")
            print("ted\nbegun", end="")
            for _ in tqdm(range(3), disable=None):
                pass
        assert handler.stream is terminal
    finally:
        logging.getLogger("some.library").removeHandler(handler)
    told = terminal.getvalue()
    whole = [line.rpartition("\x1b[2K")[2] for line in told.splitlines()]
    for line in ("logged", "printed", "careful", "begun"):
        assert line in whole
    assert "3/3" not in told  # a bar would write over the table


def test_the_terminal_is_as_before_whatever_ends_the_experiment(display, terminal):
    with pytest.raises(KeyboardInterrupt), display():
        raise KeyboardInterrupt
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")
    assert not [thread for thread in threading.enumerate() if "_draw" in thread.name]


def test_who_keeps_the_stream_may_go_on_writing(display, terminal):
    with display():
        kept = sys.stdout
    kept.write("later\n")
    assert terminal.getvalue().endswith("later\n")


def test_many_events_cost_few_drawings(display):
    drawn = []

    class Counting(Board):
        def view(self):
            drawn.append(time.monotonic())
            return super().view()

    with display(Counting) as board:
        for _ in range(20_000):
            board.trial_ended(0)
    assert len(drawn) < 100
