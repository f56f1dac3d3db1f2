"""What an audit finds, as records that survive JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

EXACT, NEAR = "exact", "near"
AT_CHANCE, ABOVE_CHANCE, SUSPICIOUS, UNTESTED = (
    "at chance",
    "above chance",
    "suspicious",
    "untested",
)


@dataclass(frozen=True)
class Member:
    """An image: path relative to the root of the dataset, class, side of the split."""

    path: str
    label: str
    side: str


@dataclass(frozen=True)
class Leak:
    """How many of the ``images`` of a side have a relative on the training side: ``leaked``."""

    images: int
    leaked: int

    @property
    def share(self) -> float:
        """The share of the side, 0 for an empty one."""
        return self.leaked / self.images if self.images else 0.0


@dataclass(frozen=True)
class Duplicates:
    """Sets of two or more images that are the same, or nearly.

    Attributes:
        sets: number of sets.
        images: images in them.
        largest: images in the largest of them.
        crossing: sets with images on several sides of the split.
        across_classes: sets with images of several classes.
        leaks: per side that is judged on, images with a duplicate on the training side.
        conflicts: the first sets with images of several classes, and of each the first images,
            all classes of the set among them.

    """

    sets: int
    images: int
    largest: int
    crossing: int
    across_classes: int
    leaks: Mapping[str, Leak]
    conflicts: tuple[tuple[Member, ...], ...]


@dataclass(frozen=True)
class OwnGroups:
    """The groups that the dataset itself knows: videos or patients.

    Attributes:
        groups: number of groups.
        crossing: groups with images on several sides of the split.
        leaks: per side that is judged on, images whose group is on the training side too.

    """

    groups: int
    crossing: int
    leaks: Mapping[str, Leak]


@dataclass(frozen=True)
class Shortcut:
    """How well a trivial classifier tells the classes by one kind of feature alone.

    Attributes:
        feature: size, border or overlay.
        verdict: at chance, above chance, suspicious or untested.
        images: images that it was tried on, in cross-validation.
        accuracy: share of correct images; None where untested, as are the next three.
        majority: that of always answering the largest class.
        balanced_accuracy: mean over classes of the share of correct images.
        chance: balanced accuracy of guessing.
        note: what could not be tried, and why; empty where all could.

    """

    feature: str
    verdict: str
    images: int
    accuracy: float | None = None
    majority: float | None = None
    balanced_accuracy: float | None = None
    chance: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """Two images that are the same bytes (``exact``) or differ in ``distance`` bits of 256."""

    first: Member
    second: Member
    distance: int
    exact: bool


@dataclass(frozen=True)
class Audit:
    """What was found in a dataset and its split.

    Attributes:
        dataset: its name.
        synthetic: whether its images are made up.
        images: number of images, those unreadable included.
        unreadable: how many files could not be read as images; none of them is a duplicate.
        classes: images per class.
        sides: images per side of the split.
        exact: sets of files with the same bytes.
        near: groups of images that show nearly the same, those of the same bytes included.
        own: groups that the dataset knows; None where it knows none.
        shortcuts: one per kind of feature.
        pairs: the worst pairs: across sides, or of two classes.
        pairs_complete: whether all pairs of near-duplicates were looked at; if not, more images
            leak than ``near.leaks`` says.

    """

    dataset: str
    synthetic: bool
    images: int
    unreadable: int
    classes: Mapping[str, int]
    sides: Mapping[str, int]
    exact: Duplicates
    near: Duplicates
    own: OwnGroups | None
    shortcuts: tuple[Shortcut, ...]
    pairs: tuple[Pair, ...]
    pairs_complete: bool = True


def as_dict(audit: Audit) -> dict[str, Any]:
    """Return ``audit`` as what JSON can hold; `from_dict` undoes it."""
    return asdict(audit)


def from_dict(told: Mapping[str, Any]) -> Audit:
    """Return the audit that `as_dict` told.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no such thing.

    """
    parts = {
        "exact": _duplicates(told["exact"]),
        "near": _duplicates(told["near"]),
        "own": None if told["own"] is None else _own(told["own"]),
        "shortcuts": tuple(Shortcut(**each) for each in told["shortcuts"]),
        "pairs": tuple(_pair(each) for each in told["pairs"]),
    }
    return Audit(**{**told, **parts})


def _duplicates(told: Mapping[str, Any]) -> Duplicates:
    conflicts = tuple(tuple(Member(**each) for each in found) for found in told["conflicts"])
    return Duplicates(**{**told, "leaks": _leaks(told["leaks"]), "conflicts": conflicts})


def _own(told: Mapping[str, Any]) -> OwnGroups:
    return OwnGroups(**{**told, "leaks": _leaks(told["leaks"])})


def _leaks(told: Mapping[str, Any]) -> dict[str, Leak]:
    return {side: Leak(**leak) for side, leak in told.items()}


def _pair(told: Mapping[str, Any]) -> Pair:
    return Pair(**{**told, "first": Member(**told["first"]), "second": Member(**told["second"])})
