"""Images that show nearly the same: neighbouring frames, copies saved again, exact duplicates.

Two images are near-duplicates when the 256 bits of their hashes differ in at most `MAX_DISTANCE`
places, and groups are the connected components. Mirrored and rotated copies are not found.

Hash and distance were chosen on 749 colonoscopy images with 61 known groups of two or more.
At 42 of 256 bits, ImageHash's ``dhash`` finds a pair of every group and joins 57 of the 61 as a
whole; 90 % of its 701 pairs lie within a known group, and most of the others are frames of the
same scene when looked at. At 36 bits it joins 48 of 61 (97 % of the pairs known), at 48 bits all
61 (72 %), beginning to chain different scenes. Of the other hashes, at the least distance that
joins 57, fewer pairs are known: ``dhash`` of 144 bits 86 %, of 64 bits 63 %, ``whash`` of 256 bits
67 %, ``average_hash`` 47 %, ``phash`` of 64 to 256 bits 16 to 21 %.
"""

import logging
from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tl_hpo.data.fingerprints import Fingerprints

log = logging.getLogger(__name__)

MAX_DISTANCE = 42
# Unrelated images differ in half of the comparisons that tell more than noise. With fewer of these
# than twice the distance, blank and nearly blank images would all be near-duplicates.
MIN_CONTRASTS = 2 * MAX_DISTANCE
MAX_PAIRS = 2_000_000  # kept at once: 48 MB
BLOCK = 1 << 20  # distances computed at once
_FAR = np.uint16(np.iinfo(np.uint16).max)


def near_duplicate_pairs(
    fingerprints: Fingerprints, max_distance: int = MAX_DISTANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of images whose hashes differ in at most ``max_distance`` bits.

    Images with the same bytes have distance 0. An image in which next to nothing is to be seen
    has no other near-duplicates, and a file that is no image has none.

    Returns:
        pairs: indices, the smaller one first, int64 [p, 2], nearest first, then in index order.
        distances: differing bits, int64 [p].

        Where there are more than `MAX_PAIRS`, the nearest of them; a warning tells so.

    """
    rows, limit = np.empty((0, 3), dtype=np.int64), max_distance
    for first, second, distances in _blocks(fingerprints, max_distance):
        near = distances <= limit
        block = np.column_stack([first[near], second[near], distances[near]])
        rows = np.concatenate([rows, block])
        if len(rows) > MAX_PAIRS:
            rows = _nearest(rows)[:MAX_PAIRS]
            limit = int(rows[-1, 2]) - 1  # of equal distances the first are kept
    if limit < max_distance:
        log.warning(
            "More than %d pairs of images are near-duplicates: only the nearest of them are told",
            MAX_PAIRS,
        )
    rows = _nearest(rows)
    return rows[:, :2], rows[:, 2]


def near_duplicate_groups(
    fingerprints: Fingerprints, max_distance: int = MAX_DISTANCE
) -> tuple[str, ...]:
    """Return the name of the group of each image, [n]: ``near-0000``, in order of first members.

    Near-duplicates of near-duplicates are in one group; an image without any has its own. All
    pairs count, even where `near_duplicate_pairs` does not tell all.
    """
    labels = np.arange(len(fingerprints))
    for first, second, _ in _blocks(fingerprints, max_distance):
        labels = _joined(labels, first, second)
    _, order, inverse = np.unique(labels, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(order))[inverse]
    return tuple(f"near-{number:04d}" for number in numbers.tolist())


def _joined(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return ``labels`` (each the index of a member of its component) after more are joined."""
    n = len(labels)
    start, end = np.concatenate([np.arange(n), first]), np.concatenate([labels, second])
    graph = coo_array((np.ones(len(start), dtype=bool), (start, end)), shape=(n, n))
    _, components = connected_components(graph, directed=False)
    _, members = np.unique(components, return_index=True)
    return members[components]


def _nearest(rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(rows[:, 2], kind="stable")]


def _blocks(
    fingerprints: Fingerprints, max_distance: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield first and second index and distance of all near-duplicates, in index order.

    Memory is bounded by `BLOCK` whatever the number of images and of pairs.
    """
    n = len(fingerprints)
    _, identity = np.unique(np.array(fingerprints.content, dtype=str), return_inverse=True)
    blank = fingerprints.contrasts < MIN_CONTRASTS
    height = max(1, BLOCK // max(1, n))
    for start in range(0, n, height):
        rows, columns = slice(start, min(start + height, n)), slice(start, n)
        distances = _distances(fingerprints.hashes[rows], fingerprints.hashes[columns])
        distances[blank[rows]] = _FAR
        distances[:, blank[columns]] = _FAR
        distances[identity[rows, None] == identity[None, columns]] = 0
        distances[~fingerprints.readable[rows]] = _FAR
        distances[:, ~fingerprints.readable[columns]] = _FAR
        near = np.triu(distances <= max_distance, 1)
        first, second = np.nonzero(near)
        yield first + start, second + start, distances[near].astype(np.int64)


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the number of bits in which hashes differ: uint16 [a, b] of uint64 [a|b, words]."""
    total = np.zeros((len(one), len(other)), dtype=np.uint16)
    for word in range(one.shape[1]):
        total += np.bitwise_count(one[:, word, None] ^ other[None, :, word])
    return total
