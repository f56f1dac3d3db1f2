"""One pass of batches through frozen layers, with what crosses chosen cuts taken along the way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from tl_hpo.models.reuse.cuts import Cut, CutGraph

Take = Callable[[list[Tensor]], None]


@dataclass(frozen=True)
class TensorSpec:
    """What is to be kept of one tensor per image.

    Attributes:
        shape: without the batch.
        dtype: as the layers made it: bfloat16 under autocast.
        channels_last: whether [C, H, W] lies in memory as [H, W, C].

    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorSpec":
        """Describe a batch."""
        last = (
            tensor.dim() == 4
            and tensor.is_contiguous(memory_format=torch.channels_last)
            and not tensor.is_contiguous()
        )
        return cls(tuple(tensor.shape[1:]), tensor.dtype, last)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape in memory, without the batch."""
        if not self.channels_last:
            return self.shape
        channels, height, width = self.shape
        return height, width, channels

    @property
    def bytes(self) -> int:
        """Bytes of one image."""
        count = 1
        for side in self.shape:
            count *= side
        return count * self.dtype.itemsize

    def stored(self, batch: Tensor) -> Tensor:
        """Return a view of ``batch`` [b, *shape] as it is kept: [b, *stored_shape]."""
        return batch.permute(0, 2, 3, 1) if self.channels_last else batch


@dataclass(frozen=True)
class Profile:
    """What one image costs, by cut.

    Attributes:
        seconds: of the prefix up to each cut, measured.
        specs: of the tensors that cross it, measured.

    """

    seconds: Mapping[int, float]
    specs: Mapping[int, tuple[TensorSpec, ...]]

    def bytes(self, layer: int) -> int:
        """Return the bytes per image that cross the cut at ``layer``."""
        return sum(spec.bytes for spec in self.specs[layer])


class FrozenPass:
    """Runs parts of a backbone as its frozen layers run in training: evaluation mode, no gradients.

    Args:
        backbone: on its device; the pass leaves its modes as they were.
        cut_graph: of this architecture.
        bf16: compute under autocast to bfloat16.

    """

    def __init__(self, backbone: nn.Module, cut_graph: CutGraph, bf16: bool) -> None:
        self._backbone = backbone
        self._cuts = cut_graph
        self._bf16 = bf16
        self._interpreter = fx.Interpreter(backbone, graph=cut_graph.graph)

    def run(
        self, start: Cut | None, values: Sequence[Tensor], takes: Mapping[Cut, Take]
    ) -> list[float]:
        """Run one batch from ``start`` to the last cut in ``takes``.

        Args:
            start: where ``values`` were taken; None for normalised images.
            values: [batch, ...] each, in the order of ``start.live``.
            takes: what receives the values that cross each cut, at the moment they cross: a later
                layer may overwrite them in place.

        Returns:
            The seconds spent until each of these cuts, in order.

        """
        names = start.live if start else (self._cuts.input.name,)
        env = dict(zip((self._cuts.named[name] for name in names), values, strict=True))
        ahead = sorted(takes, key=lambda cut: cut.position)
        elapsed, seconds = 0.0, []
        with self._evaluating():
            for number, cut in enumerate(ahead):
                began = self._now()
                self._advance(env, ahead[number - 1] if number else start, ahead[number:])
                elapsed += self._now() - began
                seconds.append(elapsed)
                takes[cut]([env[node] for node in self._cuts.values(cut)])
        return seconds

    def _advance(self, env: dict[fx.Node, Tensor], begin: Cut | None, ahead: list[Cut]) -> None:
        """Run from ``begin`` to the first cut ``ahead`` and drop what nothing needs any more."""
        self._interpreter.env = env
        self._interpreter.args_iter = iter(())  # further arguments have their defaults
        wanted = {node for cut in ahead for node in self._cuts.values(cut)}
        for node in self._cuts.between(begin, ahead[0].position):
            if node not in env:
                env[node] = self._interpreter.run_node(node)
            for source in node.all_input_nodes:
                if source not in wanted and self._cuts.last_use(source) <= self._cuts.index[node]:
                    env.pop(source, None)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        modes = {module: module.training for module in self._backbone.modules()}
        device = next(self._backbone.parameters()).device
        self._backbone.eval()
        try:
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode

    def profile(self, images: Tensor) -> Profile:
        """Measure what the prefix up to every possible cut costs for ``images``, normalised.

        A cut that something other than one tensor per image crosses is left out.
        """
        cuts = list(self._cuts.cuts.values())
        # One image tells batches from tensors that have just as many rows, a computed weight say;
        # the second run pays for choosing kernels and allocating memory.
        _, single = self._described(cuts, images[:1])
        self._described(cuts, images)
        seconds, specs = self._described(cuts, images)
        per_image = {
            cut.layer: spent / len(images) for cut, spent in zip(cuts, seconds, strict=True)
        }
        specs = {layer: found for layer, found in specs.items() if layer in single}
        return Profile({layer: per_image[layer] for layer in specs}, specs)

    def _described(
        self, cuts: Sequence[Cut], images: Tensor
    ) -> tuple[list[float], dict[int, tuple[TensorSpec, ...]]]:
        """Return the seconds up to each cut, and what crosses those that only batches cross."""
        specs: dict[int, tuple[TensorSpec, ...]] = {}

        def describe(layer: int) -> Take:
            def take(values: list[Any]) -> None:
                if all(_is_batch(value, len(images)) for value in values):
                    specs[layer] = tuple(TensorSpec.of(value) for value in values)

            return take

        seconds = self.run(None, [images.clone()], {cut: describe(cut.layer) for cut in cuts})
        return seconds, specs

    def _now(self) -> float:
        if next(self._backbone.parameters()).is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def _is_batch(value: Any, length: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == length
