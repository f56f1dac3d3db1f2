"""What the processes of a test listen to."""

import os
from contextlib import suppress
from pathlib import Path

LISTENING = "0A"  # the state, as Linux has it


def opened(pid: int) -> list[str]:
    """Return what the file descriptors of a process stand for."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(os.readlink(link))
    return links


def listening(pid: int) -> set[str]:
    """Return the addresses at which a process accepts TCP connections."""
    own = opened(pid)
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == LISTENING and f"socket:[{cells[9]}]" in own:
                last = bytes.fromhex(cells[1].partition(":")[0][-8:])  # of ::ffff:127.0.0.1, say
                found.add(".".join(str(byte) for byte in reversed(last)))
    return found
