"""Expected improvement: its logarithm, for the search, and its value in the unit of the scores.

| symbol | meaning | shape |
|---|---|---|
| Y | scores, less is better: minus the accuracy, where that is maximised | (n,) |
| y | what the model sees, before it is normalised | (n,) |
| m, s | mean and standard deviation of y | (n,) |
| c | y to improve on | scalar |
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

Array = NDArray[np.float64]

_OFFSET = 0.01  # what an accuracy of 1 still lacks, so that it has a logarithm
_FAR = -50.0  # below it, differences of nearly equal numbers are left to a series


class Output(Protocol):
    """What the model sees of the scores, and the way back."""

    def encode(self, Y: Array) -> Array:
        """Return y, rising with Y."""

    def decode(self, m: Array, s: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation in the unit of Y."""

    def improvement(self, m: Array, s: Array, c: float) -> Array:
        """Return E[(Y(c) - Y(y))+], never negative, for y of N(m, s^2)."""


class PlainOutput:
    """y = Y."""

    def encode(self, Y: Array) -> Array:
        """Return y."""
        return Y

    def decode(self, m: Array, s: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation themselves."""
        return m, s

    def improvement(self, m: Array, s: Array, c: float) -> Array:
        """Return s (z Phi(z) + phi(z)), z = (c - m) / s."""
        return np.exp(log_improvement(m, s, c))


class LogErrorOutput:
    """y = log(1.01 - accuracy), where Y is minus the accuracy.

    Near the best accuracies small differences count as much as large ones far from them.
    """

    def encode(self, Y: Array) -> Array:
        """Return y."""
        return np.log(1.0 + _OFFSET + Y)

    def decode(self, m: Array, s: Array) -> tuple[Array, Array]:
        """Return the median of Y, and half the width of its middle 68 %: exp(m) sinh(s)."""
        return np.exp(m) - 1.0 - _OFFSET, np.exp(m) * np.sinh(s)

    def improvement(self, m: Array, s: Array, c: float) -> Array:
        """Return e^c Phi((c - m) / s) - e^(m + s^2 / 2) Phi((c - m - s^2) / s)."""
        s = np.maximum(s, np.finfo(float).tiny)
        z = (c - m) / s
        gain = math.exp(c) * ndtr(z) - np.exp(m + 0.5 * s**2 + log_ndtr(z - s))
        return np.maximum(gain, 0.0)


def output_of(Y: Array) -> Output:
    """Return the output for past scores: of accuracies, all of Y in [-1, 0], their log error.

    Scores that are minimised have another sign, and those outside [0, 1] are no accuracies.
    """
    return LogErrorOutput() if ((Y >= -1.0) & (Y <= 0.0)).all() else PlainOutput()


def log_improvement(m: Array, s: Array, c: float) -> Array:
    """Return log E[(c - y)+] for y of N(m, s^2), precise however unlikely; s may be 0."""
    gain = c - m
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        certain = np.log(np.maximum(gain, 0.0))
        uncertain = np.log(s) + log_h(gain / s)
    return np.where(s > 0.0, uncertain, certain)


def log_h(z: Array) -> Array:
    """Return log(phi(z) + z Phi(z)).

    For negative z it is log phi(z) + log(1 - |z| M(|z|)), M Mills' ratio, and far out
    1 - x M(x) = 1 / x^2 - 3 / x^4 + 15 / x^6 - ...
    """
    log_phi = -0.5 * z**2 - 0.5 * math.log(2.0 * math.pi)
    above = np.maximum(z, -1.0)
    near = np.log(np.exp(-0.5 * above**2) / math.sqrt(2.0 * math.pi) + above * ndtr(above))
    x = np.maximum(-z, 1.0)
    tail = 1.0 - x * math.sqrt(math.pi / 2.0) * erfcx(x / math.sqrt(2.0))
    series = (1.0 - (3.0 - 15.0 / x**2) / x**2) / x**2
    tail = np.where(z < _FAR, series, tail)
    return np.where(z > -1.0, near, log_phi + np.log(tail))
