"""Batches of images, or of what frozen layers made of them, gathered from memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from tl_hpo.data.split import Split
from tl_hpo.errors import UserError

Batch = tuple[tuple[torch.Tensor, ...], torch.Tensor]


def channels_first(pixels: np.ndarray) -> torch.Tensor:
    """Return images uint8 [n, H, W, 3] as [n, 3, H, W] in channels_last layout, not copied."""
    if pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"images must be [n, H, W, 3], got {pixels.shape}")
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


class ImageData(LightningDataModule):
    """Batches ``(inputs [b, ...] each, labels int64 [b])`` in the memory layout of the inputs.

    Images travel as bytes: the model normalises them on its device. No worker processes, since
    gathering a batch from memory is cheaper than sending it between processes. Inputs that lie on
    a device stay there: so do their batches.

    Args:
        inputs: [n, ...] each: images uint8 [n, 3, H, W], or what crosses a cut; not copied.
        labels: class indices, int64 [n].
        split: which images belong to which side.
        batch_size: images per batch; a last single image joins the batch before it.
        seed: of the order in training. It starts anew with every `train_dataloader`, so both
            phases of a trial, and two modules made alike, see the same order.

    Raises:
        UserError: ``batch_size`` is below 1.

    """

    def __init__(
        self,
        inputs: Sequence[torch.Tensor],
        labels: np.ndarray,
        split: Split,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}; set batch_size=32.")
        if any(len(values) != len(labels) for values in inputs):
            raise ValueError(
                f"inputs must have a row per label, got {[len(v) for v in inputs]}, {len(labels)}"
            )
        self.inputs = tuple(inputs)
        self.labels = torch.from_numpy(labels)
        self.split = split
        self.batch_size = batch_size
        self.seed = seed

    @property
    def majority_share(self) -> float:
        """Share of the largest class on the validation side: what a constant answer scores."""
        counts = torch.bincount(self.labels[self.split.validation])
        return counts.max().item() / len(self.split.validation)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training side, in a new order every epoch."""
        generator = torch.Generator().manual_seed(self.seed)
        return self._loader(self.split.train, generator)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation side in the order of its indices."""
        return self._loader(self.split.validation)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test side in the order of its indices; no batches without a test side."""
        return self._loader(self.split.test)

    def calibration_batches(self, n: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the inputs of up to ``n`` training images, evenly spread over the side."""
        side = self.split.train
        chosen = side[np.linspace(0, len(side) - 1, min(n, len(side))).round().astype(int)]
        for positions in Batches(len(chosen), self.batch_size, None):
            indices = torch.from_numpy(chosen[positions])
            yield tuple(_rows(values, indices) for values in self.inputs)

    def _loader(
        self, indices: np.ndarray, generator: torch.Generator | None = None
    ) -> DataLoader[Batch]:
        return DataLoader(
            Side(self.inputs, self.labels, torch.from_numpy(indices)),
            batch_sampler=Batches(len(indices), self.batch_size, generator),
            collate_fn=_as_it_is,
            pin_memory=torch.cuda.is_available() and not any(v.is_cuda for v in self.inputs),
            # Else the loader would draw from torch's global generator, which the model uses.
            generator=torch.Generator(),
        )


class Side(Dataset[Batch]):
    """One side of a split, gathered batch-wise: inputs [n, ...], labels [n], indices [m]."""

    def __init__(
        self, inputs: Sequence[torch.Tensor], labels: torch.Tensor, indices: torch.Tensor
    ) -> None:
        self.inputs, self.labels, self.indices = inputs, labels, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the batch at ``positions``; torch's loader calls this once per batch."""
        chosen = self.indices[torch.as_tensor(positions)]
        return tuple(_rows(values, chosen) for values in self.inputs), self.labels[chosen]


def _rows(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Gather rows of [n, ...]; the batch has the memory layout of the whole, and its device."""
    indices = indices.to(values.device)
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        # Gathered as [n, H, W, C]: rows of that are whole blocks of memory.
        return values.permute(0, 2, 3, 1)[indices].permute(0, 3, 1, 2)
    return values[indices]


class Batches(Sampler[list[int]]):
    """Positions 0..length-1 in batches; shuffled anew in every pass if given a generator.

    A last batch of one image is merged into the batch before it: BatchNorm cannot train on a
    single value per channel, and dropping the image would leave it out of that epoch.
    """

    def __init__(self, length: int, batch_size: int, generator: torch.Generator | None) -> None:
        self.length, self.batch_size, self.generator = length, batch_size, generator
        starts = list(range(0, length, batch_size))
        if batch_size > 1 and length > batch_size and length % batch_size == 1:
            starts.pop()
        self.bounds = list(zip(starts, [*starts[1:], length], strict=True)) if starts else []

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[list[int]]:
        if self.generator is None:
            order = list(range(self.length))
        else:
            order = torch.randperm(self.length, generator=self.generator).tolist()
        return (order[start:stop] for start, stop in self.bounds)


def _as_it_is(batch: Any) -> Any:
    """Return what `Side.__getitems__` gathered; there is nothing left to collate."""
    return batch
