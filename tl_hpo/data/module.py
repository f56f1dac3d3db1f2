"""Batches of images, or of what frozen layers made of them, gathered from memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from tl_hpo.data.pieces import IGNORED, Piece, Pieces
from tl_hpo.data.split import Split
from tl_hpo.data.views import Views, rows_of
from tl_hpo.errors import UserError

Batch = tuple[tuple[torch.Tensor, ...], torch.Tensor]
PieceOfBatch = tuple[tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor]
Gather = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]


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

    With ``views``, every epoch of training shows each image in one of its views, drawn anew. With
    ``test_time`` too, an image is judged by all of them: inputs then have [views * b] rows, view
    by view, and labels [b].

    Where a step's batch is computed in pieces, training gives ``(inputs, labels, labels of the
    whole step)`` for each piece; the labels of what merely fills a piece up are `IGNORED`.

    Args:
        inputs: images uint8 [n, 3, H, W]; or what crosses a cut, [m, ...] each; not copied.
        labels: class indices, int64 [n].
        split: which images belong to which side.
        batch_size: images per batch, of all processes together; a last single image joins the
            batch before it.
        seed: of the order in training. It starts anew with every `train_dataloader`, so both
            phases of a trial, and two modules made alike, see the same order.
        positions: where the inputs hold a view of an image, int64 [views, n]; None where they are
            the images themselves, whose views are made on the spot.
        views: of the images.
        test_time: whether to judge an image by all its views.
        balanced: draw training images with replacement, all classes equally often.
        accumulate: batches that one step of the optimizer takes.
        rank, ranks: which process this is, of those that train together; each has its share of
            every training batch, and the other sides whole.

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
        *,
        positions: torch.Tensor | None = None,
        views: Views | None = None,
        test_time: bool = False,
        balanced: bool = False,
        accumulate: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}; set batch_size=32.")
        if positions is None and any(len(values) != len(labels) for values in inputs):
            raise ValueError(
                f"inputs must have a row per label, got {[len(v) for v in inputs]}, {len(labels)}"
            )
        self.inputs = tuple(inputs)
        self.labels = torch.from_numpy(labels)
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self._positions = positions
        self._views = views or Views()
        self._test_time = test_time
        self._balanced = balanced
        self._accumulate = accumulate
        self._rank, self._ranks = rank, ranks

    @property
    def step_size(self) -> int:
        """Images that one step of the optimizer takes."""
        return self.batch_size * self._accumulate

    @property
    def majority_share(self) -> float:
        """Share of the largest class on the validation side: what a constant answer scores."""
        counts = torch.bincount(self.labels[self.split.validation])
        return counts.max().item() / len(self.split.validation)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training side, in a new order every epoch."""
        side, views = self.split.train, len(self._views)
        weights = balancing(self.labels[side]) if self._balanced else None
        generator = torch.Generator().manual_seed(self.seed)
        batches = Batches(len(side), self.step_size, generator, views, weights)
        return self._loader(side, self._pieces(batches))

    def _pieces(self, batches: "Batches") -> Sampler[Any]:
        if self._accumulate * self._ranks == 1 or not len(batches):
            return batches
        start, stop = batches.bounds[-1]
        return Pieces(batches, stop - start, self._accumulate, self._rank, self._ranks)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation side in the order of its indices."""
        return self._in_order(self.split.validation)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test side in the order of its indices; no batches without a test side."""
        return self._in_order(self.split.test)

    def calibration_batches(self, n: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the inputs of up to ``n`` training images, evenly spread over the side."""
        side = self.split.train
        chosen = side[np.linspace(0, len(side) - 1, min(n, len(side))).round().astype(int)]
        for positions in Batches(len(chosen), self.step_size, None):
            indices = torch.from_numpy(chosen[positions])
            yield self._gather(indices, torch.zeros_like(indices))

    def _gather(self, images: torch.Tensor, views: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self._positions is None:
            return tuple(self._views.gather(values, images, views) for values in self.inputs)
        rows = self._positions[views, images]
        if (rows < 0).any():  # the last row would be taken instead
            raise IndexError("these inputs do not hold every view of the images asked for")
        return tuple(rows_of(values, rows) for values in self.inputs)

    def _in_order(self, indices: np.ndarray) -> DataLoader[Batch]:
        judged_by = len(self._views) if self._test_time else 1
        return self._loader(indices, Batches(len(indices), self.batch_size, None), judged_by)

    def _loader(
        self, indices: np.ndarray, batches: Sampler[Any], judged_by: int = 1
    ) -> DataLoader[Batch]:
        return DataLoader(
            Side(self._gather, self.labels, torch.from_numpy(indices), judged_by),
            batch_sampler=batches,
            collate_fn=_as_it_is,
            pin_memory=torch.cuda.is_available() and not any(v.is_cuda for v in self.inputs),
            # Else the loader would draw from torch's global generator, which the model uses.
            generator=torch.Generator(),
        )


def balancing(labels: torch.Tensor) -> torch.Tensor:
    """Return what to draw each of ``labels``, int64 [n], with: one over the size of its class."""
    return 1.0 / torch.bincount(labels).double()[labels]


class Side(Dataset[Batch]):
    """One side of a split, gathered batch-wise.

    Args:
        gather: (images [b], views [b]) to inputs [b, ...] each.
        labels: of all images, [n].
        indices: of the images of this side, [m].
        judged_by: number of views that each image is given in at once.

    """

    def __init__(
        self, gather: Gather, labels: torch.Tensor, indices: torch.Tensor, judged_by: int = 1
    ) -> None:
        self.gather, self.labels, self.indices = gather, labels, indices
        self.judged_by = judged_by

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, samples: Sequence[int] | Piece) -> Batch | PieceOfBatch:
        """Return the batch of ``samples``, see `Batches`; torch's loader calls this once each."""
        if isinstance(samples, Piece):
            inputs, labels = self._batch(samples.samples)
            labels[samples.counted :] = IGNORED
            return inputs, labels, self.labels[self._images(torch.as_tensor(samples.step))]
        return self._batch(samples)

    def _images(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.indices[numbers % len(self.indices)]

    def _batch(self, samples: Sequence[int]) -> Batch:
        numbers = torch.as_tensor(samples)
        images = self._images(numbers)
        views = torch.div(numbers, len(self.indices), rounding_mode="floor")
        labels = self.labels[images]
        if self.judged_by > 1:
            views = torch.arange(self.judged_by).repeat_interleave(len(images))
            images = images.repeat(self.judged_by)
        return self.gather(images, views), labels


class Batches(Sampler[list[int]]):
    """Samples in batches; shuffled anew in every pass if given a generator.

    Sample v * length + i is view v of the image at position i; without a generator all views are
    0. A last batch of one image is merged into the batch before it: BatchNorm cannot train on a
    single value per channel, and dropping the image would leave it out of that epoch.

    Args:
        length: number of images.
        batch_size: at least 1.
        generator: of the order, or None for 0..length-1.
        views: to draw the view of each image from, anew in every pass.
        weights: to draw the images with, with replacement; None shows each of them once.

    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        generator: torch.Generator | None,
        views: int = 1,
        weights: torch.Tensor | None = None,
    ) -> None:
        self.length, self.batch_size, self.generator = length, batch_size, generator
        self.views, self.weights = views, weights
        starts = list(range(0, length, batch_size))
        if batch_size > 1 and length > batch_size and length % batch_size == 1:
            starts.pop()
        self.bounds = list(zip(starts, [*starts[1:], length], strict=True)) if starts else []

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self.length)) if self.generator is None else self._drawn().tolist()
        return (order[start:stop] for start, stop in self.bounds)

    def _drawn(self) -> torch.Tensor:
        if self.weights is None:
            order = torch.randperm(self.length, generator=self.generator)
        else:
            order = torch.multinomial(
                self.weights, self.length, replacement=True, generator=self.generator
            )
        if self.views > 1:
            views = torch.randint(self.views, (self.length,), generator=self.generator)
            order += views * self.length
        return order


def _as_it_is(batch: Any) -> Any:
    """Return what `Side.__getitems__` gathered; there is nothing left to collate."""
    return batch
