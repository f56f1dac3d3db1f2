"""Processes of this package's own: how they are started, told where things lie, and told of.

A child holds one end of a socket and ends when the other one does: none outlives its parent.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARIES = ("OMP", "MKL", "OPENBLAS")  # that compute with threads


def start(module: str, environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """Start ``python -m module FD`` and return it, with this process's end of a socket to it.

    It has a session of its own: Ctrl-C is for its parent, which tells its children.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**environment, "PYTHONPATH": python_path(environment)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process, ours.detach()


def python_path(environment: Mapping[str, str]) -> str:
    """Return where a new process finds this package; `add_modules` tells it the rest."""
    own = str(Path(__file__).parent.parent)
    said = environment.get("PYTHONPATH")
    return os.pathsep.join([own, said] if said else [own])


def add_modules(folders: Sequence[str]) -> None:
    """Look for modules where another process does, before where this one does."""
    sys.path[:] = [path for path in folders if path not in sys.path] + sys.path


def threads(n: int) -> dict[str, str]:
    """Return the environment in which libraries compute with ``n`` threads."""
    return {f"{library}_NUM_THREADS": str(n) for library in LIBRARIES}


def ending(code: int) -> str:
    """Return a process's exit code in words."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
