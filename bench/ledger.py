"""Where the time goes, measured from outside: functions are wrapped, not changed."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Ledger:
    """Charges every moment to one label: that of the innermost watched call.

    Args:
        rest: label of what is outside of all watched calls.
        wait: brings a device to an end before the clock is read, where it works on its own.

    """

    def __init__(self, rest: str, wait: Callable[[], None] = lambda: None) -> None:
        self._seconds = defaultdict[str, float](float)
        self._open = [rest]
        self._wait = wait
        self._since = self._now()

    def _now(self) -> float:
        self._wait()
        return time.perf_counter()

    def _charge(self) -> None:
        now = self._now()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now

    def spent(self) -> dict[str, float]:
        """Return the seconds charged so far, by label."""
        self._charge()
        return dict(self._seconds)

    def clear(self) -> None:
        """Start all labels from nought."""
        self._charge()
        self._seconds.clear()

    def enter(self, label: str) -> None:
        """Charge to ``label`` from now on."""
        self._charge()
        self._open.append(label)

    def leave(self) -> None:
        """Charge to the label before again."""
        self._charge()
        self._open.pop()

    @contextmanager
    def charging(self, label: str) -> Iterator[None]:
        """Charge the block to ``label``."""
        self.enter(label)
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def watching(self, owner: Any, name: str, label: str) -> Iterator[None]:
        """Charge calls of the function ``name`` of a class or module to ``label``."""
        original = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.charging(label):
                return original(*args, **kwargs)

        with replaced(owner, name, timed):
            yield


@contextmanager
def replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Put ``function`` in the place of the one that ``owner`` has under ``name``."""
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(function))
    try:
        yield
    finally:
        setattr(owner, name, original)
