"""How far figures of one side would vary: a bootstrap over its groups.

Images of one group, such as a video, resemble each other: they are drawn together or not at all.
Groups are drawn within the classes (that of most of their images), since splits are stratified: a
resample without a class would count mistakes for it as an F1 of 0. Classes of few groups are drawn
together, a single such class with the next smallest: a class of one video would not vary by itself.

| symbol | meaning | shape |
|---|---|---|
| confusion | images of class row that were predicted as class column | (G, C, C) |
| drawn | how often each group is in each resample | (B, G) |
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tl_hpo.training.metrics import summaries_of

RESAMPLES = 2000
LEVEL = 0.95
FEW_GROUPS = 5  # of a class; with fewer it is drawn together with the others that have fewer
CHUNK = 100  # resamples at once: (100, G) of 10,000 groups are 8 MB

Interval = tuple[float, float]


def resampled(
    predicted: Tensor, target: Tensor, n_classes: int, groups: Sequence[str], seed: int = 0
) -> dict[str, np.ndarray]:
    """Return the metrics of `summaries_of` in each resample of the groups, [RESAMPLES] each.

    Args:
        predicted: class indices, [n].
        target: likewise.
        n_classes: C, at least 2.
        groups: the group of each image, [n]; at least one.
        seed: of the drawing.

    """
    confusion = _by_group(predicted, target, n_classes, groups)
    classes = confusion.sum(dim=2).argmax(dim=1).numpy()
    parts = [
        summaries_of(torch.einsum("bg,gij->bij", drawn, confusion))
        for drawn in _draws(classes, seed)
    ]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def groups_per_class(target: Tensor, n_classes: int, groups: Sequence[str]) -> list[int]:
    """Return the number of groups that each class occurs in, [n_classes]."""
    occurs = _by_group(target, target, n_classes, groups).sum(dim=2) > 0
    return occurs.sum(dim=0).tolist()


def _by_group(predicted: Tensor, target: Tensor, n_classes: int, groups: Sequence[str]) -> Tensor:
    names, numbers = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    flat = (torch.from_numpy(numbers) * n_classes + target) * n_classes + predicted
    counts = torch.bincount(flat, minlength=len(names) * n_classes**2)
    return counts.view(len(names), n_classes, n_classes).double()


def _draws(classes: np.ndarray, seed: int) -> Iterator[Tensor]:
    """Yield how often each group is drawn, [CHUNK, G], from the class of each group, [G]."""
    rng = np.random.default_rng(seed)
    strata = _strata(classes)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for _ in range(RESAMPLES // CHUNK):
        drawn = np.zeros((CHUNK, len(classes)))
        for of_stratum in members:
            size = len(of_stratum)
            drawn[:, of_stratum] = rng.multinomial(size, np.full(size, 1 / size), size=CHUNK)
        yield torch.from_numpy(drawn)


def _strata(classes: np.ndarray) -> np.ndarray:
    """Return what each group is drawn with, [G], from the class of each, [G]; -1 for the few."""
    sizes = np.bincount(classes)
    ordered = [label for label in np.argsort(sizes, kind="stable") if sizes[label]]
    few = [label for label in ordered if sizes[label] < FEW_GROUPS]
    if len(few) == 1:
        few = ordered[:2]
    return np.where(np.isin(classes, few), -1, classes)


def interval(values: np.ndarray) -> Interval:
    """Return the percentile interval of resampled values, [RESAMPLES]."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def intervals(values: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, Interval]:
    """Return the intervals of the metrics ``names``."""
    return {name: interval(values[name]) for name in names}


def differences(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, Interval]:
    """Return the intervals of ``one`` minus ``other``, sides that share no image."""
    return {name: interval(one[name] - other[name]) for name in names}
