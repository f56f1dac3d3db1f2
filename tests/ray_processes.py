"""Ray on this machine for tests: on loopback, in a folder of its own, gone when they are over."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from one_at_a_time import holding
from sockets import opened

SECONDS_TO_END = 30

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # read at Ray's import: loopback, see ray_connection
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0" * 32,
}
os.environ.update(ENVIRONMENT)


@contextmanager
def alone() -> Iterator[Path]:
    """Let Ray have a folder of its own within the block, after which none of it is running.

    One at a time on this machine: what joins a cluster takes any that it finds.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets need a short path
    with holding("ray"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        try:
            yield folder
            until = time.monotonic() + SECONDS_TO_END
            while processes(folder) and time.monotonic() < until:
                time.sleep(0.1)
            assert processes(folder) == []
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def processes(folder: Path) -> list[int]:
    """Return the processes, but for this one, that Ray's ``folder`` is part of."""
    others = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in others if pid != os.getpid() and _belongs(pid, str(folder))]


def _belongs(pid: int, folder: str) -> bool:
    try:
        said = Path(f"/proc/{pid}/cmdline").read_text()
        return folder in said or any(link.startswith(folder) for link in opened(pid))
    except (OSError, UnicodeDecodeError):  # it is gone
        return False
