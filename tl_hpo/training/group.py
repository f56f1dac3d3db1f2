"""The processes that train one trial together, one device each (DDP, Li et al., 2020).

Every process takes its share of every training batch, and gradients are averaged. All judge the
whole validation side; what rank 0 makes of it holds for all, so that they leave a phase together.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from tl_hpo.models.reuse.passes import TensorSpec
from tl_hpo.models.reuse.rooms import logical

HOST = "127.0.0.1"
# A process that died is noticed at once, see `ranks`; this is for one that hangs.
TIMEOUT = timedelta(minutes=30)

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """What one process knows of those that train together.

    Attributes:
        rank: of this process; 0 decides, reports and writes.
        size: how many there are.

    """

    rank: int = 0
    size: int = 1

    def share(self, value: T) -> T:
        """Return the ``value`` of rank 0."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def share_tensors(self, tensors: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
        """Return the tensors of rank 0, [n, ...] each, on the host or on this process' ``device``.

        They lie where those of rank 0 do, in the same layout.
        """
        length = len(tensors[0]) if tensors else 0
        own = [TensorSpec.of(tensor) for tensor in tensors], [t.is_cuda for t in tensors], length
        specs, on_device, length = self.share(own)
        stored = [
            spec.stored(tensors[i]).contiguous() if tensors else
            torch.empty(
                (length, *spec.stored_shape),
                dtype=spec.dtype,
                device=device if on_device[i] else "cpu",
            )
            for i, spec in enumerate(specs)
        ]  # fmt: skip
        for tensor in stored:
            dist.broadcast(tensor, src=0)
        return logical(stored, specs)

    def trainer_settings(self) -> dict[str, Any]:
        """Return what a Lightning Trainer of this process needs to know."""
        if self.size == 1:
            # An environment of SLURM's would be found wherever srun is installed.
            return {"devices": 1, "plugins": [LightningEnvironment()]}
        strategy = DDPStrategy(
            broadcast_buffers=False,  # those of frozen layers are equal, and stay so
            find_unused_parameters=False,  # every trainable parameter is in the trace
        )
        return {
            "devices": self.size,
            "strategy": strategy,
            "plugins": [_Environment(self.rank, self.size)],
            "use_distributed_sampler": False,  # the batches are shares already
        }


ALONE = Group()


class _Environment(LightningEnvironment):
    """Tells Lightning that all processes run already, as torchrun's environment does."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self._rank, self._size = rank, size

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return self._size

    def global_rank(self) -> int:
        return self._rank

    def local_rank(self) -> int:
        return self._rank

    def set_world_size(self, size: int) -> None:
        """Do nothing: it is known."""

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: it is known."""

    def teardown(self) -> None:
        """Do nothing: nothing was set."""


@contextmanager
def joined(rank: int, size: int, store: dist.Store, device: torch.device) -> Iterator[Group]:
    """Be one of the group while the block runs; returns when all are in."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    threads = torch.get_num_threads()
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield Group(rank, size)
    except BaseException:
        abort()  # the others may never come to where they would be waited for
        with suppress(RuntimeError, ValueError):  # the first error is the one to tell
            dist.destroy_process_group()
        raise
    else:
        dist.destroy_process_group()
    finally:
        torch.set_num_threads(threads)


def abort() -> None:
    """Let whatever waits for another process give up; gloo does so by itself."""
    world = dist.group.WORLD if dist.is_initialized() else None
    if world is not None and "nccl" in str(dist.get_backend_config()):
        with suppress(RuntimeError):
            world.abort()


def connect(port: int, size: int, *, master: bool) -> dist.TCPStore:
    """Return what the processes find each other by; ``port`` 0 chooses one that is free."""
    if not master:
        return dist.TCPStore(HOST, port, size, is_master=False, wait_for_workers=False)
    # Left to itself torch listens on every address of the machine.
    listening = socket.create_server((HOST, port))
    return dist.TCPStore(
        HOST,
        listening.getsockname()[1],
        size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )
