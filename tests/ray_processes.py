"""Ray on this machine for tests: on loopback, in a folder of its own, gone when they are over."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

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
    """Let Ray have a folder of its own within the block, after which none of it is running."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets need a short path
    with pytest.MonkeyPatch.context() as patch:
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
        return folder in said or any(link.startswith(folder) for link in _open(pid))
    except (OSError, UnicodeDecodeError):  # it is gone
        return False


def _open(pid: int) -> list[str]:
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(os.readlink(link))
    return links


def listening(pid: int) -> set[str]:
    """Return the addresses at which a process accepts TCP connections."""
    opened = _open(pid)
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = cells = line.split()
            if state == "0A" and f"socket:[{cells[9]}]" in opened:
                last = bytes.fromhex(local.partition(":")[0][-8:])  # of ::ffff:127.0.0.1, say
                found.add(".".join(str(byte) for byte in reversed(last)))
    return found
