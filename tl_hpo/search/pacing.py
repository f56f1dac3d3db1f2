"""Work that is due after every change, held back where it would take much of the time."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Paced:
    """Calls ``act`` soon after every call: at once, unless it has just taken a while.

    Args:
        act: what is to be done; only the last of several calls needs it.
        lock: held while it is done.
        share: of the time that it may take, in (0, 1].

    """

    def __init__(self, act: Callable[[], None], lock: threading.RLock, share: float) -> None:
        self._act = act
        self._lock = lock
        self._share = share
        self._due = float("-inf")
        self._timer: threading.Timer | None = None

    def __call__(self) -> None:
        """Act now, or as soon as the share allows."""
        with self._lock:
            wait = self._due - time.monotonic()
            if wait <= 0:
                self.now()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self._later)
                self._timer.daemon = True
                self._timer.start()

    def now(self) -> None:
        """Act now, whatever it takes."""
        with self._lock:
            self._cancel()
            began = time.monotonic()
            try:
                self._act()
            finally:
                now = time.monotonic()
                self._due = now + (now - began) * (1 / self._share - 1)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # it has been done since
            try:
                self.now()
            except Exception as error:  # such as a full disk: the next call will meet it as well
                self._due = float("-inf")
                logger.debug("held back and failed: %s", error)
