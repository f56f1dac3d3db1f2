"""A Gaussian process over categories beside numbers, in plain numpy for a few hundred points.

| symbol | meaning | shape |
|---|---|---|
| X | rows: a category's index, or a number in [0, 1], per axis | (n, n_axes) |
| y | outputs of about mean 0 and variance 1 | (n,) |
| a, l | length scale of a category, of a number | one per axis |
| v, noise | variance of the function, of the noise | scalars |
| t | logarithms of a and l in the order of the axes, of v, of noise | (n_axes + 2,) |

The kernel is k = v exp(-sum_c [x_c != x'_c] / a_c^2) Matern52(r) with
r^2 = sum_j (x_j - x'_j)^2 / l_j^2. All other categories are equally far, and what categories share
is learned apart from how fast the function changes along the numbers.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize

Array = NDArray[np.float64]
Features = Callable[[Array], Array]

# Log-normal priors, median and spread, for unit axes and outputs.
CATEGORY_PRIOR = (2.5, 0.7)
NUMBER_PRIOR = (0.3, 0.7)
VARIANCE_PRIOR = (1.0, 1.0)
NOISE_PRIOR = (0.003, 1.0)

_BOUND = 5.0  # spreads around the medians; keeps the kernel matrix far from singular
_PERTURBATION = 0.5  # spreads by which the second start is off the medians
_FANTASY_NOISE = 1e-9  # of the variance: what keeps fantasies of one point invertible
_PRECISION = {"ftol": 1e-6, "gtol": 1e-4, "maxiter": 60}  # finer ones move no proposal visibly


def _itself(X: Array) -> Array:
    return X


class Posterior:
    """A Gaussian process given its parameters and data.

    Args:
        X: rows, shape (n, n_axes).
        y: outputs, shape (n,).
        categorical: which axes are categories, shape (n_axes,).
        t: logarithms of the parameters, shape (n_axes + 2,).
        features: of rows, what the kernel compares.
        n_fantasies: how many of the last rows are fantasies, of outputs without noise.

    Raises:
        LinAlgError: the kernel matrix is not positive definite.

    """

    def __init__(
        self,
        X: Array,
        y: Array,
        categorical: NDArray[np.bool_],
        t: Array,
        features: Features = _itself,
        n_fantasies: int = 0,
    ) -> None:
        self.X, self.y, self.categorical, self.t = X, y, categorical, t
        self._features, self._compared = features, features(X)
        K = kernel(self._compared, self._compared, categorical, t)
        noise = np.full(len(X), math.exp(t[-1]))
        noise[len(X) - n_fantasies :] = _FANTASY_NOISE * math.exp(t[-2])
        K.flat[:: len(X) + 1] += noise
        self._inverse = np.linalg.inv(np.linalg.cholesky(K))
        self._weights = self._inverse.T @ (self._inverse @ y)

    def predict(self, X: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the function at m rows, each of shape (m,)."""
        K = kernel(self._features(X), self._compared, self.categorical, self.t)
        explained = K @ self._inverse.T
        variance = math.exp(self.t[-2]) - np.einsum("mn,mn->m", explained, explained)
        return K @ self._weights, np.sqrt(np.maximum(variance, 0.0))

    def with_fantasies(self, X: Array) -> "Posterior":
        """Return the process that has also seen its own mean at the rows X, without noise."""
        y = np.concatenate([self.y, self.predict(X)[0]])
        seen = np.vstack([self.X, X])
        return Posterior(seen, y, self.categorical, self.t, self._features, len(X))


def kernel(X: Array, Z: Array, categorical: NDArray[np.bool_], t: Array) -> Array:
    """Return the covariances of the rows X and Z, without noise, shape (len(X), len(Z))."""
    decays = np.exp(-2.0 * t[:-2])
    exponent = np.zeros((len(X), len(Z)))
    square = np.zeros((len(X), len(Z)))
    for j, is_category in enumerate(categorical):
        if is_category:
            exponent -= decays[j] * (X[:, j, None] != Z[:, j])
        else:
            difference = X[:, j, None] - Z[:, j]
            difference *= difference
            difference *= decays[j]
            square += difference
    square *= 5.0
    root = np.sqrt(square)
    exponent -= root
    np.exp(exponent, out=exponent)
    square /= 3.0
    square += root
    square += 1.0
    exponent *= square
    exponent *= math.exp(t[-2])
    return exponent


def prior(categorical: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return median and spread of every element of t, each of shape (n_axes + 2,)."""
    axes = [CATEGORY_PRIOR if each else NUMBER_PRIOR for each in categorical]
    medians, spreads = zip(*axes, VARIANCE_PRIOR, NOISE_PRIOR, strict=True)
    return np.log(medians), np.array(spreads)


def fit(
    X: Array,
    y: Array,
    categorical: NDArray[np.bool_],
    rng: np.random.Generator,
    features: Features = _itself,
) -> Posterior:
    """Return the process with the most probable t, found from two starts.

    One start is the medians of the prior, the other is off them at random. The density is that
    of t, of the logarithms.

    Raises:
        LinAlgError: the kernel matrix is not positive definite.

    """
    middle, spread = prior(categorical)
    loss = NegativeLogPosterior(features(X), y, categorical)
    bounds = np.stack([middle - _BOUND * spread, middle + _BOUND * spread], axis=1)
    starts = (middle, middle + _PERTURBATION * spread * rng.standard_normal(len(middle)))
    found = [
        minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_PRECISION)
        for start in starts
    ]
    t = min(found, key=lambda each: float(each.fun)).x
    return Posterior(X, y, categorical, t, features)


class NegativeLogPosterior:
    """-log p(t | X, y) up to a constant, and its gradient.

    Works on the n (n - 1) / 2 pairs below the diagonal of the kernel matrix, which lie in a
    buffer in Fortran order for LAPACK.
    """

    def __init__(self, X: Array, y: Array, categorical: NDArray[np.bool_]) -> None:
        self._middle, self._spread = prior(categorical)
        self._y = y
        n = len(y)
        self._rows, self._columns = np.tril_indices(n, -1)
        difference = (X[self._rows] - X[self._columns]).T
        self._category = np.flatnonzero(categorical)
        self._number = np.flatnonzero(~categorical)
        self._differs = (difference[self._category] != 0).astype(float)
        self._square = difference[self._number] ** 2
        self._pairs = self._columns * n + self._rows
        self._diagonal = np.arange(n) * (n + 1)
        self._flat = np.zeros(n * n)
        self._matrix = self._flat.reshape((n, n), order="F")

    def __call__(self, t: Array) -> tuple[float, Array]:
        """Return the loss and its gradient, shape (n_axes + 2,)."""
        variance, noise = math.exp(t[-2]), math.exp(t[-1])
        scales = np.exp(-2.0 * t[:-2])
        root = np.sqrt(5.0 * (scales[self._number] @ self._square))
        decay = variance * np.exp(-(scales[self._category] @ self._differs) - root)
        k = decay * (1.0 + root + root * root / 3.0)
        loss, pairs, trace = self._solved(k, variance + noise)
        gradient = np.empty_like(t)
        shared = pairs * k
        gradient[self._category] = 2.0 * scales[self._category] * (self._differs @ shared)
        slope = pairs * decay * (1.0 + root)
        gradient[self._number] = 5.0 / 3.0 * scales[self._number] * (self._square @ slope)
        gradient[-2] = shared.sum() + 0.5 * variance * trace
        gradient[-1] = 0.5 * noise * trace
        off = (t - self._middle) / self._spread
        return loss + 0.5 * float(off @ off), gradient + off / self._spread

    def _solved(self, k: Array, diagonal: float) -> tuple[float, Array, float]:
        """Return -log p(y | t), and W = K^-1 - K^-1 y y' K^-1: its pairs and its trace."""
        self._flat[self._pairs] = k
        self._flat[self._diagonal] = diagonal
        factor, failed = lapack.dpotrf(self._matrix, lower=1, clean=0)
        if failed:
            raise np.linalg.LinAlgError("the kernel matrix is not positive definite")
        weights, _ = lapack.dpotrs(factor, self._y, lower=1)
        loss = 0.5 * float(self._y @ weights) + float(np.log(factor.diagonal()).sum())
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        W = inverse.ravel(order="K")
        pairs = W[self._pairs] - weights[self._rows] * weights[self._columns]
        trace = float(W[self._diagonal].sum() - weights @ weights)
        return loss, pairs, trace
