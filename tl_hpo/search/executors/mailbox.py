"""A folder through which two processes talk that share nothing but a file system.

Messages are data, JSON of the dataclasses of `wire`: a numbered file each, whole or absent. Clocks
of two machines differ, so nobody compares times: a sign of life is a file whose content changes.
A network file system may show a new file late; a change of one's own makes it look (`refresh`).
"""

import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tl_hpo.files import write_text
from tl_hpo.search.executors.wire import Answer, Done, Ended, Epoch, Failed, Judged, Log
from tl_hpo.training.result import EpochRecord, PhaseSummary, TrialResult

_KINDS = {kind.__name__: kind for kind in (Answer, Done, Ended, Epoch, Failed, Judged, Log)}
_KIND = "kind of message"  # a key that no message has


def encode(message: Any) -> str:
    """Return a message as JSON."""
    return json.dumps({_KIND: type(message).__name__} | asdict(message))


def decode(text: str) -> Any:
    """Return the message that `encode` wrote.

    Raises:
        ValueError: it is none.

    """
    try:
        fields = json.loads(text)
        kind = _KINDS[fields.pop(_KIND)]
        return kind(**{name: _part(name, value) for name, value in fields.items()})
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"no message: {text[:80]!r}") from error


def _part(name: str, value: Any) -> Any:
    if name == "record":
        return EpochRecord(**value)
    if name == "result":
        phases = {phase: PhaseSummary(**each) for phase, each in value["phases"].items()}
        return TrialResult(**value | {"phases": phases})
    return value


class Messages:
    """The messages of one writer, numbered from 1, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._writing = threading.RLock()  # a signal handler may log while its thread writes

    def put(self, message: Any) -> int:
        """Write the next message and return its number.

        Raises:
            FileNotFoundError: the folder is gone.

        """
        with self._writing:
            number = next(self._numbers)
            self.put_as(number, message)
            return number

    def put_as(self, number: int, message: Any) -> None:
        """Write a message with a number that the writer keeps count of."""
        if not self._folder.is_dir():
            raise FileNotFoundError(self._folder)
        write_text(self._path(number), encode(message))

    def get(self, number: int) -> Any | None:
        """Return a message, or None until it is there.

        Raises:
            ValueError: the file holds no message.

        """
        for look_again in (True, False):
            try:
                return decode(self._path(number).read_text(encoding="utf-8"))
            except FileNotFoundError:
                if look_again:
                    refresh(self._folder)
        return None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.json"


def refresh(folder: Path) -> None:
    """Make a network file system forget what it remembers of ``folder``."""
    with suppress(OSError):
        os.chmod(folder, folder.stat().st_mode & 0o7777)


class Attempt:
    """One attempt at a trial, in a mailbox that holds a folder for each.

    Attributes:
        number: from 1.
        questions: messages of the job.
        answers: of the driver, each with the number of its question.
        alive: the job's sign of life.

    """

    def __init__(self, mailbox: Path, number: int) -> None:
        self.number = number
        self.folder = mailbox / f"attempt-{number}"
        self.questions = Messages(self.folder / "job")
        self.answers = Messages(self.folder / "driver")
        self.alive = self.folder / "alive"

    @classmethod
    def begin(cls, mailbox: Path) -> "Attempt":
        """Begin the next attempt.

        Raises:
            FileNotFoundError: the mailbox is gone.

        """
        for number in itertools.count(1):
            attempt = cls(mailbox, number)
            with suppress(FileExistsError):
                attempt.folder.mkdir()
                break
        for name in ("job", "driver"):
            (attempt.folder / name).mkdir()
        return attempt

    def newest(self) -> "Attempt":
        """Return the attempt that has replaced this one; itself, where there is none."""
        mailbox, newest = self.folder.parent, self
        refresh(mailbox)
        while (following := Attempt(mailbox, newest.number + 1)).folder.is_dir():
            newest = following
        return newest


class Heart:
    """Gives signs of life, and an order with each.

    Args:
        path: of the file, which is written in place: what replaces a file is seen later.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beats = 0
        self._order = ""
        self._beating = threading.Lock()

    def beat(self, order: str | None = None) -> None:
        """Give a sign of life, with this order from now on."""
        with self._beating:
            self._order = self._order if order is None else order
            self._beats += 1
            self._path.write_text(f"{self._beats} {self._order}", encoding="ascii")


class Pulse:
    """Feels for the signs of life of another process.

    Args:
        path: where it gives them.

    Attributes:
        order: that came with the last one.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = ""
        self._changed = time.monotonic()
        self.order = ""

    def silence(self) -> float:
        """Return the seconds since the last change was seen here, or since the beginning."""
        seen = self._seen
        with suppress(OSError, ValueError):
            seen = self._path.read_text(encoding="ascii")
        if seen != self._seen:
            self._seen, self._changed = seen, time.monotonic()
            self.order = seen.partition(" ")[2]
        return time.monotonic() - self._changed


def pauses(shortest: float, longest: float) -> Iterator[float]:
    """Yield seconds to wait between looks: longer and longer."""
    pause = shortest
    while True:
        yield pause
        pause = min(longest, 1.5 * pause)
