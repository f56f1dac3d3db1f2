"""Submits jobs to SLURM through submitit; the one module that needs it."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from tl_hpo.errors import UserError
from tl_hpo.processes import LIBRARIES, python_path
from tl_hpo.search.executors.slurm_job import Job
from tl_hpo.search.executors.slurm_queue import PassingError

# What a search within a SLURM job would hand on to jobs of its own; SLURM_CONF stays.
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SUBMITIT_")
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")
_PASSING = re.compile(r"timed out|temporar|unable to contact|connection refused|try again", re.I)
SIGNAL_SECONDS = 60  # before the end of its time a job is told, and asks to be queued again


class Submitter:
    """Submits jobs of one name.

    Args:
        folder: for submitit's files.
        name: of the jobs.
        parameters: of ``sbatch``, as submitit calls them.
        setup: shell lines before each job.
        max_timeouts: times that a job begins again after it has run out of time.

    """

    def __init__(
        self,
        folder: Path,
        name: str,
        parameters: Mapping[str, Any],
        setup: Sequence[str] = (),
        max_timeouts: int = 1,
    ) -> None:
        self._executor = _Executor(folder, max_num_timeout=max_timeouts)
        additional = {"requeue": True} | dict(parameters.get("additional_parameters") or {})
        self._executor.update_parameters(
            **dict(parameters)
            | {
                "job_name": name,
                "signal_delay_s": SIGNAL_SECONDS,
                "setup": [*setup, *_environment()],
                "additional_parameters": additional,
            }
        )

    def submit(self, job: Job) -> str:
        """Submit a job and return its id.

        Raises:
            UserError: SLURM will not have it.
            PassingError: SLURM does not answer.

        """
        try:
            return str(self._executor.submit(job).job_id)
        except (FailedJobError, FailedSubmissionError) as error:
            words = " ".join(str(error).split()) or "no reason"
            if _PASSING.search(words):
                raise PassingError(words) from error
            raise UserError(
                f"the settings of executor must be such that SLURM accepts its jobs, got: {words}; "
                "mend executor.partition, executor.timeout_min and the others."
            ) from error

    def log(self, job: str) -> str:
        """Return what a job has written to its standard error."""
        path = self._executor.folder / f"{job}_0_log.err"
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


class _Executor(SlurmExecutor):
    """Submitit's, deaf to Ctrl-C, and to the job that it may run in itself."""

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        command: list[str] = super()._make_submission_command(submission_file_path)
        own = [name for name in os.environ if name.startswith(_OF_A_JOB) and name not in _KEPT]
        return ["env", *(f"--unset={name}" for name in own), "setsid", "--wait", *command]


def _environment() -> list[str]:
    """Return shell lines: this package is found, and a trial computes with the cores it has."""
    path = shlex.quote(python_path({}))
    threads = [f"export {name}_NUM_THREADS=$SLURM_CPUS_PER_TASK" for name in LIBRARIES]
    return [
        f"export PYTHONPATH={path}${{PYTHONPATH:+:$PYTHONPATH}}",
        'if [ -n "$SLURM_CPUS_PER_TASK" ]; then',
        *threads,
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",  # srun >= 22.05 forgets it otherwise
        "fi",
    ]
