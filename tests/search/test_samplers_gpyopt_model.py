"""The Gaussian process over categories and numbers, against scikit-learn and differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from tl_hpo.search.samplers.mixed_gp import NegativeLogPosterior, Posterior, fit, kernel, prior

CATEGORICAL = np.array([True, False, True, False])
PARAMETERS = np.log([1.3, 0.4, 0.8, 0.9, 1.7, 0.01])  # a, l, a, l, v, noise


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 4))
    X[:, 0], X[:, 2] = rng.integers(0, 4, n), rng.integers(0, 3, n)
    return X


def outputs(X):
    return np.sin(5 * X[:, 1]) + 0.5 * (X[:, 0] == 1) - X[:, 3] ** 2


def reference_kernel(X, Z, t):
    a0, l1, a2, l3, v, _ = np.exp(t)
    matern = Matern(length_scale=[l1, l3], nu=2.5)(X[:, [1, 3]], Z[:, [1, 3]])
    first = np.where(X[:, None, 0] == Z[None, :, 0], 1.0, np.exp(-(a0**-2)))
    second = np.where(X[:, None, 2] == Z[None, :, 2], 1.0, np.exp(-(a2**-2)))
    return v * matern * first * second


def test_kernel_is_a_matern_times_a_factor_per_category():
    X, Z = rows(20), rows(7, seed=1)
    np.testing.assert_allclose(
        kernel(X, Z, CATEGORICAL, PARAMETERS), reference_kernel(X, Z, PARAMETERS), rtol=1e-12
    )


def test_posterior_on_numbers_is_that_of_scikit_learn():
    X, Z = rows(25)[:, [1, 3]], rows(9, seed=1)[:, [1, 3]]
    y = np.sin(5 * X[:, 0]) - X[:, 1]
    t = np.log([0.4, 0.9, 1.0, 0.01])
    reference = GaussianProcessRegressor(Matern([0.4, 0.9], nu=2.5), alpha=0.01, optimizer=None)
    mean, std = reference.fit(X, y).predict(Z, return_std=True)
    ours = Posterior(X, y, np.array([False, False]), t).predict(Z)
    np.testing.assert_allclose(ours, (mean, std), rtol=1e-8)


def test_posterior_over_categories_is_that_of_the_conditional_normal():
    X, Z = rows(25), rows(9, seed=1)
    y = outputs(X)
    K = reference_kernel(X, X, PARAMETERS) + 0.01 * np.eye(25)
    cross = reference_kernel(Z, X, PARAMETERS)
    mean, std = Posterior(X, y, CATEGORICAL, PARAMETERS).predict(Z)
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(K, y), rtol=1e-8)
    variance = 1.7 - np.diag(cross @ np.linalg.solve(K, cross.T))
    np.testing.assert_allclose(std**2, variance, rtol=1e-8)


def test_loss_is_the_negative_log_density_of_outputs_and_parameters():
    X = rows(15)
    y = outputs(X)
    K = reference_kernel(X, X, PARAMETERS) + 0.01 * np.eye(15)
    medians, spreads = np.log([2.5, 0.3, 2.5, 0.3, 1.0, 0.003]), [0.7, 0.7, 0.7, 0.7, 1.0, 1.0]
    expected = (
        -multivariate_normal.logpdf(y, cov=K) - norm.logpdf(PARAMETERS, medians, spreads).sum()
    )
    constant = 7.5 * np.log(2 * np.pi) - norm.logpdf(0, 0, spreads).sum()
    loss, _ = NegativeLogPosterior(X, y, CATEGORICAL)(PARAMETERS)
    assert loss + constant == pytest.approx(expected, rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 1000),
    categorical=st.lists(st.booleans(), min_size=4, max_size=4),
    offsets=st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6),
)
def test_gradient_is_that_of_finite_differences(n, seed, categorical, offsets):
    X = rows(n, seed)
    mask = np.array(categorical)
    middle, spread = prior(mask)
    loss = NegativeLogPosterior(X, outputs(X), mask)
    t = middle + spread * np.array(offsets)
    gradient = loss(t)[1]
    numeric = approx_fprime(t, lambda t: loss(t)[0], 1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4 * (1 + abs(gradient).max()))


def test_fit_is_a_minimum_of_the_loss_not_above_the_medians():
    X = rows(30)
    y = (outputs(X) - outputs(X).mean()) / outputs(X).std()
    found = fit(X, y, CATEGORICAL, np.random.default_rng(0))
    loss = NegativeLogPosterior(X, y, CATEGORICAL)
    value, gradient = loss(found.t)
    assert value < loss(prior(CATEGORICAL)[0])[0]
    assert abs(gradient).max() < 0.05


def test_fit_finds_the_parameters_of_its_own_process():
    rng = np.random.default_rng(0)
    X = rows(150)
    t = np.log([1.0, 0.3, 2.5, 1.0, 1.0, 0.003])
    y = rng.multivariate_normal(np.zeros(150), reference_kernel(X, X, t) + 0.003 * np.eye(150))
    found = fit(X, y, CATEGORICAL, rng).t
    np.testing.assert_allclose(found, t, atol=0.8)


def test_fantasies_leave_the_mean_and_take_the_doubt_at_their_points():
    X, Z = rows(12), rows(3, seed=1)
    before = Posterior(X, outputs(X), CATEGORICAL, PARAMETERS)
    after = before.with_fantasies(Z)
    others = rows(20, seed=2)
    np.testing.assert_allclose(after.predict(others)[0], before.predict(others)[0], atol=1e-6)
    assert (after.predict(others)[1] <= before.predict(others)[1] + 1e-9).all()
    assert after.predict(Z)[1].max() < 1e-3


def test_fantasies_of_one_point_twice_stay_invertible():
    X = rows(12)
    twice = np.vstack([rows(1, seed=1)] * 2)
    after = Posterior(X, outputs(X), CATEGORICAL, PARAMETERS).with_fantasies(twice)
    assert np.isfinite(after.predict(X)).all()
