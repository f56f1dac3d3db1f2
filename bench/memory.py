"""Resident memory of this process, in MB, memory-mapped files included."""

import resource
from contextlib import suppress
from pathlib import Path

MB = 1e6
_STATUS = Path("/proc/self/status")


def resident() -> float:
    """Return what is resident now; where the system does not tell, the peak so far."""
    return _status("VmRSS")


def peak() -> float:
    """Return the most that was resident since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Forget the peak so far: that of imports, or of the process that this one was forked from."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> float:
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    return int(line.split()[1]) * 1024 / MB
