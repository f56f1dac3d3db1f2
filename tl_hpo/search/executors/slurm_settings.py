"""The settings of ``conf/executor/slurm.yaml``, and what they are to submitit."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_hpo.errors import UserError, install
from tl_hpo.search.executors.slurm_listener import Timing

if TYPE_CHECKING:
    from tl_hpo.search.executors.submission import Submitter

_COUNTS = {
    "workers": 1,
    "timeout_min": 1,
    "max_timeouts": 0,
    "cpus_per_task": 1,
    "gpus_per_node": 0,
}
_MAY_BE_NULL = ("cpus_per_task", "gpus_per_node")
_AMOUNTS = ("mem_gb", "answer_seconds")
_OF_SBATCH = ("partition", "account", "qos", "timeout_min", "cpus_per_task", "gpus_per_node")
_NAMES = {"timeout_min": "time"}  # what submitit calls otherwise


@dataclass(frozen=True)
class SlurmSettings:
    """What a user says of the jobs; each is told in ``conf/executor/slurm.yaml``."""

    workers: Any
    partition: Any
    account: Any
    qos: Any
    timeout_min: Any
    max_timeouts: Any
    mem_gb: Any
    cpus_per_task: Any
    gpus_per_node: Any
    additional: Any
    setup: Any
    store_dir: Any
    answer_seconds: Any

    def check(self) -> None:
        """Raise UserError for a value that makes no sense."""
        for key, least in _COUNTS.items():
            value = getattr(self, key)
            is_count = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not is_count and not (value is None and key in _MAY_BE_NULL):
                raise UserError(
                    f"executor.{key} must be a whole number of at least {least}, got {value!r}."
                )
        for key in _AMOUNTS:
            value = getattr(self, key)
            is_amount = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_amount and 0 < value < float("inf")) and not (
                value is None and key == "mem_gb"
            ):
                raise UserError(f"executor.{key} must be a positive number, got {value!r}.")
        if not isinstance(self.additional, Mapping):
            raise UserError(
                "executor.additional must be a table of options of sbatch, got "
                f"{self.additional!r}; say +executor.additional.constraint=a100, for example."
            )
        lines = self.setup or []
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise UserError(
                "executor.setup must be null or a list of shell lines such as "
                f"['module load cuda'], got {self.setup!r}."
            )

    def timing(self) -> Timing:
        """Return how long to wait for what."""
        return replace(Timing(), answer=float(self.answer_seconds))

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of sbatch, by submitit's names."""
        told = {_NAMES.get(key, key): getattr(self, key) for key in _OF_SBATCH}
        if self.mem_gb is not None:
            told["mem"] = f"{round(self.mem_gb * 1024)}M"
        told["gpus_per_node"] = self.gpus_per_node or None
        given = {key: value for key, value in told.items() if value is not None}
        return given | {"additional_parameters": dict(self.additional)}

    def submitter(self) -> "Callable[[Path, str], Submitter]":
        """Return what makes the submitter of a search's jobs.

        Raises:
            UserError: submitit is not installed.

        """
        if importlib.util.find_spec("submitit") is None:
            raise UserError(
                "executor=slurm must have the package submitit, got none installed; "
                f"{install('slurm')}."
            )

        def make(folder: Path, name: str) -> "Submitter":
            from tl_hpo.search.executors.submission import Submitter

            return Submitter(
                folder, name, self.parameters(), self.setup or [], max_timeouts=self.max_timeouts
            )

        return make
