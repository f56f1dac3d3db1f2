"""Passwords in URLs: they belong in no log and no file."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_IN_A_URL = re.compile(r"(://[^/@\s:]*:)[^\s]+(?=@)")  # it may hold an @ of its own
_IN_ITS_QUERY = re.compile(r"([?&]\w*(?:password|passwd)\\?=)[^&\s\"']+", re.IGNORECASE)


def hide(text: str) -> str:
    """Return ``text`` with three stars for every password of a URL in it."""
    return _IN_ITS_QUERY.sub(r"\1***", _IN_A_URL.sub(r"\1***", text))


@contextmanager
def hidden_in_logs() -> Iterator[None]:
    """Hide passwords in whatever is logged within the block, by whomever.

    Hydra logs the overrides of every job of a sweep, to handlers that it sets up itself.
    """
    make = logging.getLogRecordFactory()

    def make_hidden(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        with suppress(TypeError, ValueError):  # arguments that do not fit: logging tells of them
            message = record.getMessage()
            if "://" in message:
                record.msg, record.args = hide(message), ()
        return record

    logging.setLogRecordFactory(make_hidden)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)
