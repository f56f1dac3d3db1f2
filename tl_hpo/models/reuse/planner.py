"""Which cut to keep, and where: the cheapest way to serve a trial from what can be kept.

A trial with delimiting layer d and E epochs may start every epoch from any cut c <= d. Then each
epoch reads what crosses c and computes layers c..d-1 again, for every image; and what crosses c
must first be made, from the deepest cut that is kept already. Where images have several views, all
of them must be made, and an epoch looks at one view of each. All costs are measured seconds, all
bytes measured bytes; 0 stands for the images, which need no making.
"""

import math
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_SPREAD = 8  # cuts kept for delimiting layers still unknown, besides the one needed now
LEAST_GAIN = 0.02  # share of a whole pass that a further cut must save on average


class Room(Protocol):
    """A place that keeps what crosses cuts, within a budget."""

    rate: float  # bytes per second that reading from it takes

    def free(self) -> int:
        """Return the bytes that can be kept without losing anything."""

    def regret(self, size: int, cut: int) -> float:
        """Return the seconds it costs to make again what gives way to ``size`` bytes of a cut.

        Infinity where they do not fit at all.
        """


class Unlimited:
    """Room without end, as fast as a real one: what a plan would be if everything fitted."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def free(self) -> int:
        """Return more than anything needs."""
        return 1 << 62

    def regret(self, size: int, cut: int) -> float:
        """Return nothing: nothing gives way."""
        return 0.0


@dataclass(frozen=True)
class Costs:
    """What all samples together cost, by cut.

    Attributes:
        seconds: of computing the prefix up to each cut; of those that can be kept.
        bytes: that cross it.
        to_layer: seconds up to each layer 0..n, whether it can be cut there or not.
        per_epoch: share of the samples that an epoch looks at.

    """

    seconds: Mapping[int, float]
    bytes: Mapping[int, int]
    to_layer: Sequence[float]
    per_epoch: float = 1.0


@dataclass(frozen=True)
class Choice:
    """Where a trial starts its epochs.

    Attributes:
        cut: 0 for the images.
        room: where to keep it; None where it is kept already, or for the images.
        seconds: what the trial spends on frozen layers, as estimated.

    """

    cut: int
    room: str | None
    seconds: float


def costs_of(
    seconds: Mapping[int, float],
    sizes: Mapping[int, int],
    n_layers: int,
    n_samples: int,
    per_epoch: int | None = None,
) -> Costs:
    """Return the costs of ``n_samples`` from those of one, by cut; all, or so many, per epoch."""
    total = {layer: value * n_samples for layer, value in seconds.items()}
    to_layer = [0.0]
    for layer in range(1, n_layers + 1):
        to_layer.append(max(total.get(layer, 0.0), to_layer[-1]))
    share = 1.0 if per_epoch is None else per_epoch / n_samples
    return Costs(total, {layer: size * n_samples for layer, size in sizes.items()}, to_layer, share)


def choose(
    delimiting_layer: int,
    epochs: int,
    costs: Costs,
    kept: Mapping[int, float],
    rooms: Mapping[str, Room],
) -> Choice:
    """Return the cheapest cut at or before the delimiting layer.

    Args:
        delimiting_layer: 0..n.
        epochs: that the trial may train for.
        costs: of this backbone.
        kept: cuts that are kept already, with the rate of reading them in bytes per second.
        rooms: where another can be kept, by name; none to take what is there.

    """
    target = costs.to_layer[delimiting_layer]
    passes = epochs * costs.per_epoch

    def spent(cut: int, rate: float) -> float:
        return passes * (target - costs.to_layer[cut] + costs.bytes[cut] / rate)

    choices = [Choice(0, None, passes * target)]
    for cut in (cut for cut in costs.seconds if cut <= delimiting_layer):
        if cut in kept:
            choices.append(Choice(cut, None, spent(cut, kept[cut])))
            continue
        source = max((c for c in kept if c < cut), default=0)
        making = costs.to_layer[cut] - costs.to_layer[source]
        for name, room in rooms.items():
            size = costs.bytes[cut]
            total = making + size / room.rate + room.regret(size, cut) + spent(cut, room.rate)
            if math.isfinite(total):
                choices.append(Choice(cut, name, total))
    return min(choices, key=lambda choice: choice.seconds)


def spread(costs: Costs, kept: Collection[int], rooms: Mapping[str, Room]) -> dict[int, str]:
    """Return further cuts to keep in free room, for trials whose delimiting layer is not known.

    Greedy: each cut is the one that saves most per pass, on average over all delimiting layers,
    until little is left to save or to fill.
    """
    free = {name: room.free() for name, room in rooms.items()}
    chosen: dict[int, str] = {}
    while len(chosen) < MAX_SPREAD:
        have = {0, *kept, *chosen}
        found = _best_addition(costs, have, free, rooms)
        if found is None:
            break
        cut, name = found
        chosen[cut] = name
        free[name] -= costs.bytes[cut]
    return chosen


def _best_addition(
    costs: Costs, have: set[int], free: Mapping[str, int], rooms: Mapping[str, Room]
) -> tuple[int, str] | None:
    bounds = [*sorted(have), len(costs.to_layer)]
    best: tuple[float, int, str] | None = None
    for cut in costs.seconds.keys() - have:
        fitting = [name for name in rooms if costs.bytes[cut] <= free[name]]
        if not fitting:
            continue
        room = max(fitting, key=lambda name: rooms[name].rate)
        after = bisect(bounds, cut)
        # Delimiting layers from this cut to the next one gain what lies between the cut before and
        # this one, and lose what reading takes.
        served = (bounds[after] - cut) / len(costs.to_layer)
        saved = costs.to_layer[cut] - costs.to_layer[bounds[after - 1]]
        gain = served * (saved - costs.bytes[cut] / rooms[room].rate)
        if gain > LEAST_GAIN * costs.to_layer[-1] and (best is None or gain > best[0]):
            best = gain, cut, room
    return None if best is None else best[1:]
