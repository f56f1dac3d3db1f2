"""How good a search is, over many seeds: simple regret, its intervals, paired tests.

| symbol | meaning |
|---|---|
| S, T, G | number of seeds, of trials, of points in time |
| validation, test, seconds | of every trial in the order of training, [S, T] |

The incumbent after trial t is the one that validates best among the first t, the first among
equals; its simple regret is the best validation accuracy that any trial could have minus its own.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

Array = np.ndarray
CONFIDENCE = 0.95


def incumbent(validation: Array) -> Array:
    """Return the index of the incumbent after every trial; [S, T]."""
    higher = np.maximum.accumulate(validation, axis=1)
    new = np.ones(validation.shape, dtype=bool)
    new[:, 1:] = validation[:, 1:] > higher[:, :-1]
    index = np.where(new, np.arange(validation.shape[1]), 0)
    return np.maximum.accumulate(index, axis=1)


def of_incumbent(values: Array, validation: Array) -> Array:
    """Return ``values`` of the incumbent after every trial; [S, T]."""
    return np.take_along_axis(values, incumbent(validation), axis=1)


def simple_regret(validation: Array, optimum: float) -> Array:
    """Return the simple regret after every trial; [S, T]."""
    return optimum - np.maximum.accumulate(validation, axis=1)


def over_time(values: Array, seconds: Array, times: Array, before: float) -> Array:
    """Return what a search has at points in time; [S, G].

    Args:
        values: after every trial; [S, T].
        seconds: that every trial took; [S, T].
        times: since the start of the search; [G].
        before: what it has until its first trial is over.

    """
    ends = np.cumsum(seconds, axis=1)
    done = (ends[:, :, None] <= times).sum(axis=1)  # trials that are over, [S, G]
    padded = np.concatenate([np.full((len(values), 1), before), values], axis=1)
    return np.take_along_axis(padded, done, axis=1)


def mean_interval(values: Array) -> tuple[Array, Array]:
    """Return mean over the seeds, the first axis, and half of its 95 % interval (Student's t)."""
    n = len(values)
    error = np.std(values, axis=0, ddof=1) / np.sqrt(n)
    return np.mean(values, axis=0), stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error


@dataclass(frozen=True)
class Paired:
    """A comparison of two searches, seed by seed.

    Attributes:
        difference: mean of a - b.
        half: of its 95 % interval.
        p_t, p_wilcoxon: two-sided p values of the paired t test and of Wilcoxon's signed-rank
            test, in which seeds without a difference do not count; 1 where no seed differs.

    """

    difference: float
    half: float
    p_t: float
    p_wilcoxon: float


def paired(a: Array, b: Array) -> Paired:
    """Compare ``a`` with ``b``, both [S], in the same order of seeds."""
    difference = a - b
    mean, half = mean_interval(difference)
    if not difference.any():
        return Paired(0.0, 0.0, 1.0, 1.0)
    constant = np.ptp(difference) == 0  # scipy divides by a spread of nothing
    p_t = 0.0 if constant else stats.ttest_rel(a, b).pvalue
    # Rounded: accuracies are shares of images, whose differences tie but for the last bits.
    p_wilcoxon = stats.wilcoxon(np.round(difference, 12)).pvalue
    return Paired(float(mean), float(half), float(p_t), float(p_wilcoxon))


def holm(p: Array) -> Array:
    """Return p values corrected for as many tests (Holm 1979), in the given order; [tests]."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected
