"""Expected improvement against numerical integration and Monte Carlo."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from tl_hpo.search.samplers.expected_improvement import (
    LogErrorOutput,
    PlainOutput,
    log_h,
    log_improvement,
    output_of,
)


def reference_log_h(z):
    """log of the integral of u phi(z - u) over u > 0, the factor phi(z) taken out where z < 0."""
    if z >= 0:
        return math.log(quad(lambda u: u * norm.pdf(z - u), 0, z + 40, points=[z])[0])
    scale = 1 / -z  # u = scale w: where the integrand lives
    integral = quad(lambda w: w * math.exp(-w - 0.5 * (scale * w) ** 2), 0, 60)[0]
    return norm.logpdf(z) + math.log(integral * scale**2)


@pytest.mark.parametrize("z", [30, 5, 1, 0, -0.5, -0.999, -1.001, -3, -10, -49, -51, -300, -1e5])
def test_log_h_is_that_of_numerical_integration(z):
    found, expected = log_h(np.array([float(z)]))[0], reference_log_h(z)
    # Less log phi(z), so that the tail's own factor is what is compared.
    assert found - norm.logpdf(z) == pytest.approx(expected - norm.logpdf(z), abs=5e-6)


@settings(max_examples=50, deadline=None)
@given(z=st.floats(-1e6, 100), step=st.floats(1e-3, 10))
def test_log_h_is_finite_and_rises(z, step):
    low, high = log_h(np.array([z, z + step]))
    assert math.isfinite(low)
    assert low <= high


def test_log_improvement_is_that_of_samples():
    m, s, c = 0.4, 0.7, 0.1
    draws = np.random.default_rng(0).normal(m, s, 1_000_000)
    expected = math.log(np.maximum(c - draws, 0).mean())
    assert log_improvement(np.array([m]), np.array([s]), c)[0] == pytest.approx(expected, abs=0.01)


def test_without_doubt_the_improvement_is_the_difference():
    found = log_improvement(np.array([0.2, 0.9]), np.zeros(2), 0.5)
    assert found[0] == pytest.approx(math.log(0.3))
    assert found[1] == -math.inf


@pytest.mark.parametrize("m", [-3.5, -2.0, 0.0])
@pytest.mark.parametrize("s", [0.05, 0.5, 1.0])
def test_improvement_in_accuracy_is_that_of_samples(m, s):
    best = 0.9
    c = math.log(1.01 - best)
    accuracies = 1.01 - np.exp(np.random.default_rng(0).normal(m, s, 1_000_000))
    gains = np.maximum(accuracies - best, 0)
    found = LogErrorOutput().improvement(np.array([m]), np.array([s]), c)[0]
    assert found == pytest.approx(gains.mean(), abs=5 * gains.std() / 1000 + 1e-9)


def test_improvement_never_negative_and_exact_without_doubt():
    output = LogErrorOutput()
    m, s = np.linspace(-5, 5, 201), np.full(201, 1e-3)
    assert (output.improvement(m, s, -3.0) >= 0).all()
    found = output.improvement(np.array([-4.0, -2.0]), np.zeros(2), -3.0)
    assert found == pytest.approx([math.exp(-3) - math.exp(-4), 0.0])


def test_plain_improvement_is_that_of_samples():
    draws = np.random.default_rng(0).normal(2.0, 3.0, 1_000_000)
    found = PlainOutput().improvement(np.array([2.0]), np.array([3.0]), 1.0)[0]
    assert found == pytest.approx(np.maximum(1.0 - draws, 0).mean(), rel=0.01)


def test_log_error_is_decoded_to_median_and_middle_68_percent():
    draws = np.exp(np.random.default_rng(0).normal(-2.0, 0.4, 1_000_000)) - 1.01
    low, median, high = np.quantile(draws, norm.cdf([-1, 0, 1]))
    mean, std = LogErrorOutput().decode(np.array([-2.0]), np.array([0.4]))
    assert mean[0] == pytest.approx(median, abs=1e-3)
    assert std[0] == pytest.approx((high - low) / 2, rel=0.01)


@settings(deadline=None)
@given(accuracy=st.lists(st.floats(0, 1), min_size=1))
def test_encoding_keeps_the_order_and_is_undone(accuracy):
    Y = -np.array(accuracy)[:, None]
    output = output_of(Y)
    assert isinstance(output, LogErrorOutput)
    y = output.encode(Y)
    assert (np.diff(y[np.argsort(Y[:, 0]), 0]) >= 0).all()
    assert output.decode(y, np.zeros_like(y))[0] == pytest.approx(Y, abs=1e-12)


@pytest.mark.parametrize("Y", [[[0.3], [0.9]], [[-0.5], [-1.2]], [[-0.5], [0.1]]])
def test_what_is_no_accuracy_that_is_maximised_stays_as_it_is(Y):
    assert isinstance(output_of(np.array(Y)), PlainOutput)
