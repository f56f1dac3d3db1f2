"""Where what crosses cuts is kept in memory, of a device or of the host, within a budget."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tl_hpo.models.reuse.passes import TensorSpec


class Key(NamedTuple):
    """What a set of activations belongs to: its images and frozen weights, and the cut."""

    work: str
    cut: int

    def __str__(self) -> str:
        return f"{self.work}-{self.cut}"


@dataclass(frozen=True)
class Activations:
    """What crosses a cut, for all images.

    Attributes:
        tensors: [images, *shape] each, laid out in memory as the layers made them.
        making: seconds that making them again would take.

    """

    tensors: tuple[Tensor, ...]
    making: float

    @property
    def bytes(self) -> int:
        """Return the size of all tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)


def bytes_of(specs: Sequence[TensorSpec], length: int) -> int:
    """Return the bytes of ``length`` images of such tensors."""
    return sum(spec.bytes for spec in specs) * length


class MemoryRoom:
    """Keeps activations in the memory of a device, which may be the host.

    What is cheap to make for its size gives way first.

    Args:
        device: whose memory it is.
        budget: bytes.

    """

    def __init__(self, device: torch.device, budget: int) -> None:
        self.device = device
        self.budget = budget
        self.rate = gather_rate(device) if budget else 1.0
        self._kept: dict[Key, Activations] = {}

    def find(self, key: Key) -> Activations | None:
        """Return what is kept under ``key``."""
        return self._kept.get(key)

    def cuts(self, work: str) -> list[int]:
        """Return the cuts that are kept of ``work``."""
        return [key.cut for key in self._kept if key.work == work]

    def used(self) -> int:
        """Return the bytes in use."""
        return sum(each.bytes for each in self._kept.values())

    def free(self) -> int:
        """Return the bytes that can be kept without losing anything."""
        return self.budget - self.used()

    def regret(self, size: int, protected: Collection[Key]) -> float:
        """Return the seconds to make again what gives way to ``size`` bytes; inf: no room."""
        leaving = self._leaving(size, protected)
        if leaving is None:
            return float("inf")
        return sum(self._kept[key].making for key in leaving)

    def make_room(self, size: int, protected: Collection[Key]) -> None:
        """Drop what gives way to ``size`` bytes."""
        for key in self._leaving(size, protected) or ():
            del self._kept[key]

    def clear(self) -> None:
        """Drop all that is kept."""
        self._kept.clear()

    def _leaving(self, size: int, protected: Collection[Key]) -> list[Key] | None:
        """Return what gives way to ``size`` bytes, or None where that is not enough."""
        lacking = size - self.free()
        leaving: list[Key] = []
        candidates = [key for key in self._kept if key not in protected]
        candidates.sort(key=lambda key: self._kept[key].making / max(1, self._kept[key].bytes))
        while lacking > 0 and candidates:
            key = candidates.pop(0)
            leaving.append(key)
            lacking -= self._kept[key].bytes
        return leaving if lacking <= 0 else None

    def hold(self, key: Key, tensor: Tensor) -> Tensor:
        """Return a copy of ``tensor`` in this room, or itself where the room has no place left.

        Copying it again costs next to nothing, so it is the first to give way.
        """
        if key not in self._kept and tensor.numel() * tensor.element_size() <= self.free():
            self._kept[key] = Activations((tensor.to(self.device),), 0.0)
        return self._kept[key].tensors[0] if key in self._kept else tensor

    @contextmanager
    def making(
        self,
        key: Key,
        specs: Sequence[TensorSpec],
        length: int,
        seconds: float,
    ) -> Iterator[list[Tensor]]:
        """Yield tensors [length, *stored_shape] to fill; they are kept when the block succeeds."""
        tensors = [
            torch.empty((length, *spec.stored_shape), dtype=spec.dtype, device=self.device)
            for spec in specs
        ]
        yield tensors
        self._kept[key] = Activations(logical(tensors, specs), seconds)


def logical(tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
    """Return views [length, *shape] of tensors [length, *stored_shape]."""
    return tuple(
        tensor.permute(0, 3, 1, 2) if spec.channels_last else tensor
        for tensor, spec in zip(tensors, specs, strict=True)
    )


def gather_rate(device: torch.device, size: int = 1 << 24) -> float:
    """Return the bytes per second at which rows are gathered from a device's memory."""
    rows = torch.zeros(256, size // 256, dtype=torch.uint8, device=device)
    order = torch.randperm(256, device=device)
    for _ in range(2):  # the first pays for mapping the memory
        began = time.perf_counter()
        rows[order]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - began
    return size / max(seconds, 1e-9)
