"""Where trials in a Ray cluster and the threads that wait for them leave word for each other.

One asynchronous actor for all trials of an experiment, beside its driver: a trial costs it a few
waiting calls, no process of its own.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

CALLS_AT_ONCE = 10_000  # a trial waits with three of them, at most


@dataclass
class _Box:
    """What is on its way to and from one trial."""

    messages: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    answers: asyncio.Queue[bool] = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False


class Mailbox:
    """An actor with a box per trial, which the first call of either side makes.

    The driver calls `next`, `answer`, `stop` and `close`, a trial `tell`, `ask` and
    `wait_for_stop`. Ray may run the calls of one side in another order than they were made in:
    whatever the order matters to waits for the call before.
    """

    def __init__(self) -> None:
        self._boxes: dict[str, _Box] = {}
        self._closed: set[str] = set()

    def _box(self, key: str) -> _Box:
        """Return the box of a trial.

        Raises:
            KeyError: the trial is over, as the driver sees it.

        """
        if key in self._closed:
            raise KeyError(key)
        return self._boxes.setdefault(key, _Box())

    async def next(self, key: str) -> Any:
        """Return the next message of the trial, once there is one; None after the last."""
        message = await self._box(key).messages.get()
        if message is None:
            self._closed.add(key)
            del self._boxes[key]
        return message

    async def answer(self, key: str, yes: bool) -> None:
        """Answer what the trial asked."""
        self._box(key).answers.put_nowait(yes)

    async def stop(self, key: str) -> None:
        """Let the trial end."""
        box = self._box(key)
        box.stopped = True
        box.over.set()

    async def close(self, key: str) -> None:
        """Let `next` come to its end: the trial is over."""
        box = self._box(key)
        box.over.set()
        box.messages.put_nowait(None)

    async def tell(self, key: str, message: Any) -> None:
        """Leave a message."""
        self._box(key).messages.put_nowait(message)

    async def ask(self, key: str, question: Any) -> bool:
        """Leave a question and wait for the answer."""
        box = self._box(key)
        box.messages.put_nowait(question)
        return await box.answers.get()

    async def wait_for_stop(self, key: str) -> bool:
        """Return, once the trial is over, whether it is to be stopped."""
        box = self._box(key)
        await box.over.wait()
        return box.stopped
