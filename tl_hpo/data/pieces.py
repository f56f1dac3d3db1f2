"""Batches cut in pieces that are computed apart, for one step of the optimizer.

One after another, where memory does not hold a batch; or at the same time, by several processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise

from torch.utils.data import Sampler

LEAST = 2  # images: BatchNorm cannot train on a single value per channel
IGNORED = -100  # the label of an image that does not count; cross-entropy's own


@dataclass(frozen=True)
class Piece:
    """A piece of the batch of one step.

    Attributes:
        samples: to compute; the first ``counted`` of them count, the others fill it up.
        step: all samples of the step.

    """

    samples: list[int]
    counted: int
    step: list[int]


def pieces_of(batch: Sequence[int], times: int, rank: int = 0, ranks: int = 1) -> list[Piece]:
    """Return what process ``rank`` of ``ranks`` computes of a batch, in up to ``times`` pieces.

    Every process has as many pieces as the others. All pieces together count every sample once.
    """
    batch = list(batch)
    shares = _cut(batch, ranks)
    pieces = max(1, min(times, len(shares[-1]) // LEAST))
    return [_filled(piece, batch) for piece in _cut(shares[rank], pieces)]


def _cut(samples: list[int], n: int) -> list[list[int]]:
    """Cut into ``n`` parts of equal length, or the first ones longer by one."""
    length, longer = divmod(len(samples), n)
    stops = [0, *(length * (i + 1) + min(i + 1, longer) for i in range(n))]
    return [samples[start:stop] for start, stop in pairwise(stops)]


def _filled(samples: list[int], batch: list[int]) -> Piece:
    lacking = max(0, LEAST - len(samples))
    return Piece([*samples, *islice(cycle(batch), lacking)], len(samples), batch)


class Pieces(Sampler[Piece]):
    """The pieces of batches, in their order.

    Args:
        batches: in which all but the last have at least 2 * ``times`` * ``ranks`` samples.
        last: length of the last of them.
        times: pieces of each batch.
        rank, ranks: which process this is, of how many.

    """

    def __init__(
        self, batches: Sampler[list[int]], last: int, times: int, rank: int, ranks: int
    ) -> None:
        self._batches = batches
        self._last = last
        self._how = (times, rank, ranks)

    def __len__(self) -> int:
        times = self._how[0]
        n_batches = len(self._batches)  # type: ignore[arg-type]
        return (n_batches - 1) * times + len(pieces_of(range(self._last), *self._how))

    def __iter__(self) -> Iterator[Piece]:
        for batch in self._batches:
            yield from pieces_of(batch, *self._how)
