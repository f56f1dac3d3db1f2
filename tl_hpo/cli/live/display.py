"""Keeps the table at the bottom of the terminal, below all that is logged or printed."""

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from tl_hpo.cli.live.board import Board
from tl_hpo.cli.live.table import draw

PAUSE = 0.25  # seconds between two drawings, at least
IDLE = 1.0  # seconds between two drawings, at most: the clocks go on
_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # for worker processes, which write by themselves


@contextmanager
def shown(board: Board, changed: threading.Event, console: Console) -> Iterator[None]:
    """Show the table while the block runs; nothing of it is left afterwards.

    Args:
        board: what it shows.
        changed: set when there is anything new to show.
        console: of the terminal.

    """
    live = Live(
        _Table(board),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    over = threading.Event()
    drawing = threading.Thread(target=_draw, args=(live, changed, over), daemon=True)
    with _environment(_QUIET), _above(console), live:
        console.show_cursor(True)  # so that nothing has to be mended, even after a kill
        drawing.start()
        try:
            yield
        finally:
            over.set()
            changed.set()
            drawing.join()


def _draw(live: Live, changed: threading.Event, over: threading.Event) -> None:
    while not over.is_set():
        changed.wait(IDLE)
        changed.clear()
        live.refresh()
        over.wait(PAUSE)


class _Table:
    """Is drawn as the board is when it is drawn, for the terminal's size of that moment."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield draw(self._board.view(), options.max_width, console.size.height)


@contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _above(console: Console) -> Iterator[None]:
    """Let what is logged or printed to the terminal within the block appear above the table."""
    out, err = sys.stdout, sys.stderr
    terminals = [out, err] if err.isatty() else [out]
    streams: dict[Any, Any] = {stream: _Above(console, stream) for stream in terminals}
    sys.stdout, sys.stderr = streams[out], streams.get(err, err)
    redirected = [(h, h.stream) for h in _handlers() if h.stream in streams]
    try:
        for handler, stream in redirected:
            handler.setStream(streams[stream])
        yield
    finally:
        for handler, stream in redirected:
            handler.setStream(stream)
        sys.stdout, sys.stderr = out, err
        for stream in streams.values():
            stream.close()


def _handlers() -> list[logging.StreamHandler[Any]]:
    """Return all handlers that write to a stream, Hydra's and those of libraries."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    found = {h for logger in loggers for h in getattr(logger, "handlers", ())}
    return [handler for handler in found if isinstance(handler, logging.StreamHandler)]


class _Above(io.TextIOBase):
    """A stream whose whole lines appear above the table.

    It is no terminal: nothing that writes to it draws a bar of its own.
    """

    def __init__(self, console: Console, terminal: TextIO) -> None:
        self._console = console
        self._terminal = terminal
        self._begun = ""
        self._writing = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the terminal."""
        return self._terminal.encoding

    def isatty(self) -> bool:
        """Deny it."""
        return False

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def fileno(self) -> int:
        """Return the terminal's."""
        return self._terminal.fileno()

    def write(self, text: str) -> int:
        """Print the lines that have come to their end."""
        with self._writing:
            *lines, self._begun = (self._begun + text).split("\n")
            if lines:
                self._print("\n".join(line.rsplit("\r", 1)[-1] for line in lines))
        return len(text)

    def close(self) -> None:
        """Print what is left; whoever still holds the stream writes to the terminal from now on."""
        with self._writing:
            if self._begun:
                self._print(self._begun.rsplit("\r", 1)[-1])
            self._begun = ""

    def _print(self, text: str) -> None:
        self._console.out(text, highlight=False)
