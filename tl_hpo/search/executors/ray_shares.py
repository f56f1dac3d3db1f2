"""How the trials of an experiment divide the machines of a Ray cluster; knows nothing of Ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tl_hpo.errors import UserError

AUTO = "auto"


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster has for trials, as Ray counts it."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Share:
    """What every trial takes, and how many run.

    Attributes:
        cpus, gpus: of a trial, as Ray counts them.
        workers: trials at once.
        per_node: trials that one machine holds, at most.

    """

    cpus: float
    gpus: float
    workers: int
    per_node: int


def make_share(
    nodes: Sequence[Node], *, workers: Any, cpus: Any, gpus: Any, together: int = 1
) -> Share:
    """Return what a trial takes of the cluster.

    Args:
        nodes: of the cluster, now.
        workers: trials at once; None: as many as ``nodes`` hold.
        cpus: of a trial; None: what its part of a machine's GPUs brings along, or without GPUs
            all of the smallest machine, divided where ``workers`` are more than the machines.
        gpus: of a trial, in [0, 1]; ``auto``: 1 where any node has one, else 0.
        together: GPUs that train one trial together, if any do: ``trainer.devices``.

    Raises:
        UserError: one of them makes no sense for this cluster.

    """
    check_wanted(workers=workers, cpus=cpus, gpus=gpus)
    if gpus == AUTO:
        gpus = 1 if any(node.gpus >= 1 for node in nodes) else 0
    if gpus and together > 1:
        gpus = _together(gpus, together)
    if cpus is None:
        cpus = _cpus_by_gpu(nodes, gpus) if gpus else _cpus_alone(nodes, workers)
    held = [_held(node, cpus, gpus) for node in nodes]
    if not any(held):
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus), default=Node(0, 0))
        raise UserError(
            f"a node must hold a trial, got executor.gpus={gpus:g} executor.cpus={cpus:g} where "
            f"the largest of {len(nodes)} has {largest.gpus:g} GPUs and {largest.cpus:g} CPUs; "
            "set them lower (executor.gpus=0: on the CPU), or add nodes."
        )
    workers = workers or sum(held)
    return Share(cpus, gpus, workers, min(max(held), workers))


def check_wanted(*, workers: Any, cpus: Any, gpus: Any) -> None:
    """Raise UserError for settings that make no sense on any cluster."""
    if workers is not None and (not _is_number(workers) or workers < 1 or workers != int(workers)):
        raise UserError(
            f"executor.workers must be a whole number of at least 1, or null, got {workers!r}."
        )
    if cpus is not None and (not _is_number(cpus) or not 0 < cpus < float("inf")):
        raise UserError(f"executor.cpus must be a positive number, or null, got {cpus!r}.")
    if gpus != AUTO and (not _is_number(gpus) or not 0 <= gpus <= 1):
        raise UserError(
            f"executor.gpus must be auto or a number from 0 to 1, got {gpus!r}; a trial uses one "
            "GPU, or a part of one that it shares with others: 0.5, say."
        )


def _together(gpus: float, devices: int) -> int:
    if gpus != 1:
        raise UserError(
            f"executor.gpus must be auto or 1 where trainer.devices={devices} GPUs train a trial "
            f"together, got {gpus:g}; leave it out."
        )
    return devices


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _by_gpus(node: Node, gpus: float) -> int:
    """Return the trials that a node's GPUs hold; no trial takes parts of two."""
    if gpus > 1:
        return int(node.gpus // gpus)
    return int(node.gpus) * int(1 / gpus + 1e-9)


def _held(node: Node, cpus: float, gpus: float) -> int:
    by_cpus = int(node.cpus / cpus + 1e-9)
    return min(by_cpus, _by_gpus(node, gpus)) if gpus else by_cpus


def _cpus_by_gpu(nodes: Sequence[Node], gpus: float) -> float:
    parts = [node.cpus / held for node in nodes if (held := _by_gpus(node, gpus)) and node.cpus]
    least = min(parts, default=1.0)
    return float(int(least)) if least >= 1 else least


def _cpus_alone(nodes: Sequence[Node], workers: int | None) -> float:
    counts = [int(node.cpus) for node in nodes if node.cpus >= 1]
    per_node = -(-(workers or 1) // len(counts)) if counts else 1
    return float(max(1, min(counts, default=1) // per_node))
