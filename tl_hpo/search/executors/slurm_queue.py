"""The queue of SLURM: who waits and who runs, by the name that all jobs of a search have.

``squeue`` and ``scontrol`` tell it; ``sacct`` needs a database that not every cluster has.
"""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable

from tl_hpo.errors import UserError

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
COMMAND_SECONDS = 60.0
_PAUSE = 0.5  # seconds between questions while jobs end
PENDING, FAILED = "PENDING", "FAILED"
ON_A_NODE = ("RUNNING", "COMPLETING")


class PassingError(Exception):
    """SLURM does not answer now; it may later."""


class SlurmQueue:
    """Asks for, and cancels, jobs of one name.

    Args:
        name: that no other search's jobs have.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._asking = threading.Lock()
        self._asked = float("-inf")
        self._states: dict[str, str] | None = None

    def states(self, since: float) -> dict[str, str] | None:
        """Return the states of the jobs that have not ended, by their ids.

        Args:
            since: a value of `time.monotonic`; what was asked after it need not be asked again.

        Returns:
            None when SLURM does not answer.

        """
        with self._asking:
            if self._asked < since:
                now = time.monotonic()
                answer = _say("squeue", "--noheader", f"--name={self.name}", "--format=%i %T")
                self._asked = now
                self._states = None if answer is None else _parse(answer)
            return self._states

    def states_now(self) -> dict[str, str]:
        """Return the states as they are now; nothing when SLURM does not answer."""
        return self.states(time.monotonic()) or {}

    def cancel(self, ids: Iterable[str], *, pending: bool = False) -> None:
        """Cancel jobs of this search, those alone that wait if ``pending``."""
        ids = list(ids)
        if ids:
            _say("scancel", *(["--state=PENDING"] if pending else []), *ids)

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until no job of this search is left, so long at most; tell whether it is so."""
        deadline = time.monotonic() + seconds
        while (left := self.states(time.monotonic())) is None or left:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def cancel_all(self, seconds: float) -> bool:
        """Cancel all jobs of this search and wait for them; tell whether none is left."""
        self.cancel(self.states_now())
        return self.wait_until_empty(seconds)

    def ending(self, job: str) -> tuple[str, str]:
        """Return how a job has ended, as SLURM calls it and in words, if SLURM remembers."""
        told = _say("scontrol", "--oneliner", "show", "job", job) or ""
        state, code = (re.search(rf"\b{key}=(\S+)", told) for key in ("JobState", "ExitCode"))
        if state is None:
            return "", "is no longer in the queue"
        known = f", exit code {code[1]}" if code and code[1] != "0:0" else ""
        return state[1], f"has ended as {state[1]}{known}"


def _parse(listing: str) -> dict[str, str]:
    rows = (line.split() for line in listing.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _say(*command: str) -> str | None:
    """Return what a command prints; None when it fails."""
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the search
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def check_commands() -> None:
    """Raise UserError unless SLURM's commands are here."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"executor=slurm must run where SLURM's commands are, got no {', '.join(missing)} on "
            "the PATH; run it on a login node of the cluster, or use executor=local."
        )
