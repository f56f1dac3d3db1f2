"""Memory that is not enough: how to tell it from other failures. Knows nothing of torch."""

import errno
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# What torch, cuDNN, cuBLAS, oneDNN and C++ say; most of it comes as a plain RuntimeError.
_SIGNS = re.compile(
    r"out of memory|not enough memory|can(no|')t allocate memory|alloc(ation)?_failed"
    r"|bad_alloc|cudaErrorMemoryAllocation|could not create a (primitive|memory object)",
    re.IGNORECASE,
)
_VMSTAT = Path("/proc/vmstat")
_CGROUPS = Path("/sys/fs/cgroup")


class MemoryShortError(Exception):
    """Memory, of the device or of the machine, was not enough.

    It holds text alone: a traceback would hold on to what filled the memory.

    Attributes:
        trace: the traceback of what was raised, as text.

    """

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message, trace)
        self.trace = trace

    def __str__(self) -> str:
        return str(self.args[0])


def is_short(error: BaseException) -> bool:
    """Tell whether ``error``, or what it was raised from, says that memory was not enough."""
    return any(_says_so(each) for each in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _says_so(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, MemoryShortError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _SIGNS.search(str(error)) is not None


def in_words(error: BaseException) -> str:
    """Return the first line of what ``error`` says, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def oom_kills() -> int:
    """Return a number that grows with every process that the system ends for lack of memory.

    The machine and the control group of this process both count them; some systems count in one
    place alone.
    """
    files = [_VMSTAT, _CGROUPS / "memory.events", _CGROUPS / "memory" / "memory.oom_control"]
    return sum(_counted(path) for path in files)


def _counted(path: Path) -> int:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
