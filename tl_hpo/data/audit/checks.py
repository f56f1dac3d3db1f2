"""The audit of a dataset and its split, from fingerprints: no image is read."""

import numpy as np

from tl_hpo.data.audit import duplicates, shortcuts
from tl_hpo.data.audit.records import Audit
from tl_hpo.data.fingerprints import Fingerprints
from tl_hpo.data.near_duplicates import MAX_PAIRS, near_duplicate_groups, near_duplicate_pairs
from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable


def audit(table: ImageTable, split: Split, fingerprints: Fingerprints, seed: int = 0) -> Audit:
    """Look for duplicates, leaks across the split and shortcuts.

    Args:
        table: the images, [n].
        split: of these images.
        fingerprints: of these images.
        seed: of the classifiers that shortcuts are looked for with.

    """
    sides = duplicates.Sides(table, split)
    content = _content(fingerprints)
    near = duplicates.numbered(near_duplicate_groups(fingerprints))
    pairs, distances = near_duplicate_pairs(fingerprints)
    own = None if table.groups is None else duplicates.numbered(table.groups)
    independent = shortcuts.joined(near, own)
    return Audit(
        dataset=table.name,
        synthetic=table.synthetic,
        images=len(table),
        unreadable=int((~fingerprints.readable).sum()),
        classes=table.counts(),
        sides={name: len(indices) for name, indices in split.sides().items()},
        exact=duplicates.duplicates(sides, content),
        near=duplicates.duplicates(sides, near, duplicates.leaked_images(sides, pairs)),
        own=None if table.groups is None else duplicates.own_groups(sides, table.groups),
        shortcuts=shortcuts.shortcuts(fingerprints, table.labels, table.classes, independent, seed),
        pairs=duplicates.worst_pairs(sides, pairs, distances, content, near),
        pairs_complete=len(pairs) < MAX_PAIRS,
    )


def _content(fingerprints: Fingerprints) -> np.ndarray:
    """Return a number per distinct content; files that are no images have one each, int64 [n]."""
    names = [
        content if readable else f"unreadable {index}"
        for index, (content, readable) in enumerate(
            zip(fingerprints.content, fingerprints.readable.tolist(), strict=True)
        )
    ]
    return duplicates.numbered(names)
