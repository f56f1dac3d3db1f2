"""Which images are the same or nearly, and which of them lie on both sides of the split."""

from collections.abc import Iterator, Sequence

import numpy as np

from tl_hpo.data.audit.records import Duplicates, Leak, Member, OwnGroups, Pair
from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable

TRAIN = "train"
MAX_CONFLICTS = 10  # sets under several classes that are named
MAX_NAMED = 6  # images of each of them
MAX_WORST = 12  # pairs that are shown


class Sides:
    """The sides of a split, by image.

    Attributes:
        names: of the sides, with the training side first.
        of: index into ``names`` of each image, int64 [n].

    """

    def __init__(self, table: ImageTable, split: Split) -> None:
        self.table = table
        self.names = tuple(split.sides())
        self.of = np.zeros(len(table), dtype=np.int64)
        for number, indices in enumerate(split.sides().values()):
            self.of[indices] = number
        self.training = self.of == self.names.index(TRAIN)

    def member(self, index: int) -> Member:
        """Return the record of one image."""
        label = self.table.classes[self.table.labels[index]]
        return Member(self.table.relative(index), label, self.names[self.of[index]])

    def leaks(self, related: np.ndarray) -> dict[str, Leak]:
        """Count, of every other side that has images, those marked in ``related`` (bool [n])."""
        counts = {
            name: Leak(int((self.of == number).sum()), int((related & (self.of == number)).sum()))
            for number, name in enumerate(self.names)
            if name != TRAIN
        }
        return {name: leak for name, leak in counts.items() if leak.images}


def numbered(names: Sequence[str]) -> np.ndarray:
    """Return a number per distinct name, int64 [n]."""
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.int64)


def duplicates(sides: Sides, group: np.ndarray, leaked: np.ndarray | None = None) -> Duplicates:
    """Describe the groups of two or more images.

    Args:
        sides: of all n images.
        group: number of the group of each image, int64 [n].
        leaked: images with a duplicate on the training side, bool [n]; by default those whose
            group has an image there.

    """
    sizes = np.bincount(group)
    crossing, mixed = _spread(group, sides.of), _spread(group, sides.table.labels)
    return Duplicates(
        sets=int((sizes > 1).sum()),
        images=int(sizes[sizes > 1].sum()),
        largest=int(sizes.max(initial=0)),
        crossing=int(crossing.sum()),
        across_classes=int(mixed.sum()),
        leaks=sides.leaks(_beside_training(sides, group) if leaked is None else leaked),
        conflicts=tuple(_conflicts(sides, group, mixed)),
    )


def own_groups(sides: Sides, groups: Sequence[str]) -> OwnGroups:
    """Describe the groups that the dataset knows, a name per image."""
    group = numbered(groups)
    return OwnGroups(
        groups=len(np.unique(group)),
        crossing=int(_spread(group, sides.of).sum()),
        leaks=sides.leaks(_beside_training(sides, group)),
    )


def leaked_images(sides: Sides, pairs: np.ndarray) -> np.ndarray:
    """Return which images are of a pair (int64 [p, 2]) with one on the training side, bool [n].

    Only the other sides' images count, so those of the training side are never marked.
    """
    marked = np.zeros(len(sides.of), dtype=bool)
    for one, other in (pairs.T, pairs.T[::-1]):
        marked[one[sides.training[other] & ~sides.training[one]]] = True
    return marked


def worst_pairs(
    sides: Sides, pairs: np.ndarray, distances: np.ndarray, content: np.ndarray, group: np.ndarray
) -> tuple[Pair, ...]:
    """Return up to `MAX_WORST` pairs that cross the split or are of two classes.

    Those of the same bytes come first, then those of two classes, then the nearest. One pair of
    every group is chosen before a second of any.

    Args:
        sides: of all n images.
        pairs: indices, int64 [p, 2].
        distances: of the pairs, int64 [p].
        content: a number per distinct content of a file, int64 [n].
        group: number of the group of near-duplicates of each image, int64 [n].

    """
    labels = sides.table.labels
    first, second = pairs.T
    same, mixed = content[first] == content[second], labels[first] != labels[second]
    bad = np.flatnonzero((sides.of[first] != sides.of[second]) | mixed)
    order = bad[np.lexsort([distances[bad], ~mixed[bad], ~same[bad]])]
    _, leaders = np.unique(group[first[order]], return_index=True)
    chosen = np.sort(leaders)[:MAX_WORST]
    others = np.setdiff1d(np.arange(len(order)), leaders)[: MAX_WORST - len(chosen)]
    return tuple(
        Pair(
            sides.member(first[index]),
            sides.member(second[index]),
            int(distances[index]),
            bool(same[index]),
        )
        for index in order[np.sort(np.concatenate([chosen, others]))]
    )


def _spread(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return which groups have images of several values, bool [groups]."""
    distinct = np.unique(np.column_stack([group, value]), axis=0)
    return np.bincount(distinct[:, 0], minlength=group.max(initial=-1) + 1) > 1


def _beside_training(sides: Sides, group: np.ndarray) -> np.ndarray:
    on_training = np.bincount(group[sides.training], minlength=group.max(initial=-1) + 1) > 0
    return on_training[group]


def _conflicts(sides: Sides, group: np.ndarray, mixed: np.ndarray) -> Iterator[tuple[Member, ...]]:
    for number in np.flatnonzero(mixed)[:MAX_CONFLICTS].tolist():
        members = np.flatnonzero(group == number)
        # One image of every class first: a set may have hundreds of one class.
        _, leaders = np.unique(sides.table.labels[members], return_index=True)
        others = np.setdiff1d(np.arange(len(members)), leaders)
        chosen = members[np.concatenate([leaders, others])[: max(MAX_NAMED, len(leaders))]]
        yield tuple(sides.member(index) for index in chosen.tolist())
