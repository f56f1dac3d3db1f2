"""GPyOpt without its side effects: imported here, on first use, and inside `session` alone.

GPyOpt draws from numpy's global generator, prints, logs, and silences all warnings of the process
when it is imported. Inside `session` it may; outside nothing of that is seen.
"""

import contextlib
import functools
import importlib
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

_log = logging.getLogger(__name__)
_LOCK = threading.RLock()  # numpy's global generator and the warning filters are shared by threads


@functools.cache
def _gpyopt() -> ModuleType:
    """Import GPyOpt; GPy also replaces `warnings.formatwarning`, which no context restores."""
    formatwarning = warnings.formatwarning
    try:
        return importlib.import_module("GPyOpt")
    finally:
        warnings.formatwarning = formatwarning


@contextlib.contextmanager
def session(seed: int) -> Iterator[Any]:
    """Yield the module GPyOpt with numpy's global generator seeded by ``seed`` modulo 2^32.

    The generator's state, the warning filters and the standard output are as before afterwards;
    what GPyOpt printed goes to this module's logger at debug level. One thread at a time.
    The threads of the linear algebra stay as they are: their number changes the rounding, and a
    proposal is to equal GPyOpt's own.
    """
    printed = io.StringIO()
    with _LOCK, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        state = np.random.get_state()
        try:
            with contextlib.redirect_stdout(printed):
                gpyopt = _gpyopt()
                with _unlogged():
                    np.random.seed(seed % 2**32)
                    yield gpyopt
        finally:
            np.random.set_state(state)
    if printed.getvalue():
        _log.debug("GPyOpt printed: %s", printed.getvalue().strip())


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep log records of GPyOpt and its libraries from the root handlers.

    They log from many loggers, the root among them, at levels that Hydra shows; a filter on the
    path of the source leaves the records of other threads alone.
    """
    handlers = [h for h in (*logging.getLogger().handlers, logging.lastResort) if h is not None]
    for handler in handlers:
        handler.addFilter(_is_not_gpyopt)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_is_not_gpyopt)


def _is_not_gpyopt(record: logging.LogRecord) -> bool:
    return not record.pathname.startswith(_folders())


@functools.cache
def _folders() -> tuple[str, ...]:
    modules = [importlib.import_module(name) for name in ("GPyOpt", "GPy", "paramz")]
    return tuple(os.path.dirname(str(module.__file__)) + os.sep for module in modules)
