"""What came of a split: how far from what was asked, which classes and groups are where."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tl_hpo.data.split import SplitTable
from tl_hpo.errors import some_of

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Deviation:
    """The class that is furthest from its share on a side.

    Attributes:
        name: of the class.
        side: name of the side.
        got: share of the images of the class that are there.
        asked: share that was asked for.

    """

    name: str
    side: str
    got: float
    asked: float


@dataclass(frozen=True)
class SplitSummary:
    """What a split came to.

    Attributes:
        images: number of images by side.
        got: share of the images by side.
        asked: share asked for by side; empty where the sides were given image by image.
        furthest: the largest deviation of a class; None where nothing was asked for.
        absent: classes without an image on a side that has images, by side, with their number of
            images in all.
        grouped: whether every group was kept on one side.
        groups: number of groups; 0 where none are known.
        largest: images of the largest group.
        oversized: groups larger than the smallest side asked for, with their number of images.
        crossing: groups with images on several sides.

    """

    images: Mapping[str, int]
    got: Mapping[str, float]
    asked: Mapping[str, float]
    furthest: Deviation | None
    absent: Mapping[str, Mapping[str, int]]
    grouped: bool
    groups: int
    largest: int
    oversized: Mapping[str, int]
    crossing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in plain containers, for JSON."""
        return asdict(self) | {"crossing": list(self.crossing)}

    def lines(self) -> list[str]:
        """Return what is to be told of every split."""
        sides = ", ".join(self._share(side) for side in SIDES if self._matters(side))
        lines = [f"Split: {sides}"]
        far = self.furthest
        if far and _percent(abs(far.got - far.asked)) != _percent(0):
            lines.append(
                f"Furthest off: class {far.name}, {_percent(far.got)} on {far.side} "
                f"(asked {_number(far.asked)})"
            )
        if self.groups:
            kept = ", each on one side" if not self.crossing else ""
            images = "image" if self.largest == 1 else "images"
            lines.append(f"Groups: {self.groups}{kept}; the largest has {self.largest} {images}")
        return lines

    def warnings(self, *, named: bool = True) -> list[str]:
        """Return what may spoil the figures of this split.

        Without ``named`` no group is named: its name may be that of a patient.
        """
        told = []
        if self.oversized:
            sizes = [f"{name}: {size} images" for name, size in self.oversized.items()]
            which = f" ({some_of(sizes)})" if named else ""
            told.append(f"{len(sizes)} groups are larger than a side that was asked for{which}")
        for side, classes in self.absent.items():
            names = [f"{name}: {size} images elsewhere" for name, size in classes.items()]
            told.append(f"{len(names)} classes are absent from the side {side} ({some_of(names)})")
        if self.crossing:
            which = f" ({some_of(self.crossing)})" if named else ""
            told.append(
                f"{len(self.crossing)} of {self.groups} groups lie on several sides{which}, which "
                "flatters the figures; split=holdout keeps each on one"
            )
        return told

    def _matters(self, side: str) -> bool:
        return bool(self.images[side] or self.asked.get(side))

    def _share(self, side: str) -> str:
        asked = f" (asked {_number(self.asked[side])})" if self.asked else ""
        return f"{side} {self.images[side]} images, {_percent(self.got[side])}{asked}"


def describe_split(made: SplitTable) -> SplitSummary:
    """Return what ``made`` came to."""
    table, sides = made.table, made.split.sides()
    classes = len(table.classes)
    counts = np.stack([np.bincount(table.labels[sides[s]], minlength=classes) for s in SIDES])
    images = {side: len(sides[side]) for side in SIDES}
    sizes, crossing = _group_sizes(table.groups), _crossing(made)
    return SplitSummary(
        images=images,
        got={side: number / len(table) for side, number in images.items()},
        asked=dict(made.asked),
        furthest=_furthest(counts, table.classes, made.asked),
        absent=_absent(counts, table.classes, made.asked),
        grouped=made.grouped and not crossing,
        groups=len(sizes),
        largest=max(sizes.values(), default=0),
        oversized=_oversized(sizes, made),
        crossing=crossing,
    )


def _furthest(
    counts: np.ndarray, classes: tuple[str, ...], asked: Mapping[str, float]
) -> Deviation | None:
    """Return the largest deviation of a class; ``counts`` are int [sides, classes]."""
    if not asked:
        return None
    got = counts / np.maximum(counts.sum(axis=0), 1)
    wanted = np.array([asked[side] for side in SIDES])
    side, label = np.unravel_index(np.abs(got - wanted[:, None]).argmax(), got.shape)
    return Deviation(classes[label], SIDES[side], float(got[side, label]), float(wanted[side]))


def _absent(
    counts: np.ndarray, classes: tuple[str, ...], asked: Mapping[str, float]
) -> dict[str, dict[str, int]]:
    """Return the classes without an image on a side, by side, with their number of images."""
    absent = {}
    for side, of_class in zip(SIDES, counts, strict=True):
        missing = np.flatnonzero((of_class == 0) & (counts.sum(axis=0) > 0))
        if len(missing) and (of_class.any() or asked.get(side)):
            absent[side] = {classes[label]: int(counts[:, label].sum()) for label in missing}
    return absent


def _group_sizes(groups: tuple[str, ...] | None) -> dict[str, int]:
    """Return the number of images of each group, the largest first."""
    if groups is None:
        return {}
    names, sizes = np.unique(np.array(groups, dtype=object), return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    return {str(names[index]): int(sizes[index]) for index in order}


def _oversized(sizes: Mapping[str, int], made: SplitTable) -> dict[str, int]:
    if not made.grouped or not made.asked:
        return {}
    smallest = min(share for share in made.asked.values() if share > 0) * len(made.table)
    return {name: size for name, size in sizes.items() if size > smallest}


def _crossing(made: SplitTable) -> tuple[str, ...]:
    """Return the groups with images on several sides, sorted."""
    if made.table.groups is None:
        return ()
    pairs = {
        (made.table.groups[index], side)
        for side, indices in made.split.sides().items()
        for index in indices.tolist()
    }
    sides_of = Counter(name for name, _ in pairs)
    return tuple(sorted(name for name, number in sides_of.items() if number > 1))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(share: float) -> str:
    return f"{100 * share:.4g}"
