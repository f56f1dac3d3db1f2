"""Whether the classes can be told by what no diagnosis rests on: size, border, overlays.

A random forest is cross-validated on such features alone. Near-duplicates, and images of one
video or patient where these are known, are never trained and judged on at once, else it could
remember them.

Its balanced accuracy b is set beside that of guessing, 1/K of K classes. It is above chance where
it is more than `SIGMAS` standard errors of guessing above 1/K, with as many independent
observations as there are groups; and suspicious where besides it lies at least `MARGIN` of the way
from guessing to faultless: (b - 1/K) / (1 - 1/K).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from tl_hpo.data.audit.records import ABOVE_CHANCE, AT_CHANCE, SUSPICIOUS, UNTESTED, Shortcut
from tl_hpo.data.fingerprints import Fingerprints

MARGIN = 1 / 3
SIGMAS = 3.0
FOLDS = 5
MIN_GROUPS = 4  # of a class: with fewer, what is learnt of it is one or two scenes
MAX_IMAGES = 10_000  # tried: bounds the time, and more would change no verdict
TREES, DEPTH, LEAF = 60, 8, 2

Parts = list[tuple[np.ndarray, np.ndarray]]  # what is trained on and what is judged on


def shortcuts(
    fingerprints: Fingerprints,
    labels: np.ndarray,
    names: Sequence[str],
    group: np.ndarray,
    seed: int,
) -> tuple[Shortcut, ...]:
    """Try size, border and overlay.

    Args:
        fingerprints: of n images.
        labels: class indices, int64 [n].
        names: of the classes.
        group: number of what each image is independent of the others by, int64 [n].
        seed: of the folds and the forest.

    """
    chosen, note = _tried(fingerprints.readable, labels, names, group, seed)
    y, own = labels[chosen], group[chosen]
    found = _features(fingerprints.subset(chosen))
    if len(np.unique(y)) < 2:
        return tuple(Shortcut(name, UNTESTED, 0, note=note) for name in found)
    groups = _groups_per_class(y, own)
    folds = StratifiedGroupKFold(min(FOLDS, groups.min()), shuffle=True, random_state=seed)
    parts = list(folds.split(y, y, own))
    return tuple(
        _judged(name, y, _predicted(X, y, parts, seed), groups, note) for name, X in found.items()
    )


def joined(one: np.ndarray, other: np.ndarray | None) -> np.ndarray:
    """Return numbers of the groups, int64 [n], in which two groupings are taken together.

    Images are in one group where either of the groupings (int64 [n]; ``other`` may be None) has
    them so, or through others that are.
    """
    if other is None:
        return one
    shift = int(one.max(initial=-1)) + 1
    n = shift + int(other.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(one), dtype=bool), (one, other + shift)), shape=(n, n))
    return connected_components(graph, directed=False)[1][one].astype(np.int64)


def _tried(
    readable: np.ndarray, labels: np.ndarray, names: Sequence[str], group: np.ndarray, seed: int
) -> tuple[np.ndarray, str]:
    """Return the images to try, int64, and what is left out."""
    chosen = np.flatnonzero(readable)
    if len(chosen) > MAX_IMAGES:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(chosen, MAX_IMAGES, replace=False))
    distinct = np.unique(np.column_stack([labels[chosen], group[chosen]]), axis=0)
    counts = np.bincount(distinct[:, 0], minlength=len(names))
    small = np.flatnonzero(counts < MIN_GROUPS)
    chosen = chosen[~np.isin(labels[chosen], small)]
    if not len(small):
        return chosen, ""
    told = ", ".join(f"{names[label]} ({counts[label]})" for label in small.tolist())
    return chosen, f"left out for having fewer than {MIN_GROUPS} independent images: {told}"


def _features(fingerprints: Fingerprints) -> Mapping[str, np.ndarray]:
    height, width = fingerprints.sizes.astype(np.float32).T
    size = np.column_stack([height, width, height / width, height * width])
    return {"size": size, "border": fingerprints.border, "overlay": fingerprints.overlay}


def _predicted(X: np.ndarray, y: np.ndarray, parts: Parts, seed: int) -> np.ndarray:
    """Return the class of every image, predicted where it was not trained on."""
    forest = RandomForestClassifier(
        n_estimators=TREES,
        max_depth=DEPTH,
        min_samples_leaf=LEAF,
        class_weight="balanced",
        n_jobs=-1,
        random_state=seed,
    )
    return cross_val_predict(forest, X, y, cv=parts)


def _judged(
    name: str, y: np.ndarray, predicted: np.ndarray, groups: np.ndarray, note: str
) -> Shortcut:
    balanced = float(balanced_accuracy_score(y, predicted))
    return Shortcut(
        feature=name,
        verdict=_verdict(balanced, groups),
        images=len(y),
        accuracy=float((predicted == y).mean()),
        majority=float(np.unique(y, return_counts=True)[1].max() / len(y)),
        balanced_accuracy=balanced,
        chance=1 / len(groups),
        note=note,
    )


def _groups_per_class(y: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the number of groups of every class that occurs."""
    distinct = np.unique(np.column_stack([y, group]), axis=0)
    return np.unique(distinct[:, 0], return_counts=True)[1]


def _verdict(balanced: float, groups: np.ndarray) -> str:
    """Judge a balanced accuracy with ``groups`` independent observations of each class."""
    chance = 1 / len(groups)
    # Of the mean over classes of shares that guessing gets right.
    error = np.sqrt((chance * (1 - chance) / groups).sum()) / len(groups)
    if balanced - chance <= SIGMAS * error:
        return AT_CHANCE
    return SUSPICIOUS if balanced - chance >= MARGIN * (1 - chance) else ABOVE_CHANCE
