"""Each optimizer, as configured, against a NumPy reference of its published formula."""

import hydra.utils
import numpy as np
import pytest
import torch

from tl_hpo.config import compose_trial, group_options

EPSILON = 1e-7
MATRIX = np.array([[3.0, 0.5], [0.5, 1.0], [0.2, -0.7]])
TARGET = np.array([1.0, -2.0, 0.5])
START = np.array([0.8, -0.3])


def gradient(x):
    return 2 * MATRIX.T @ (MATRIX @ x - TARGET)


def sgd(x, lr):
    while True:
        x = x - lr * gradient(x)
        yield x


def rmsprop(x, lr, rho=0.9):
    mean_square = np.zeros_like(x)
    while True:
        g = gradient(x)
        mean_square = rho * mean_square + (1 - rho) * g**2
        x = x - lr * g / (np.sqrt(mean_square) + EPSILON)
        yield x


def adagrad(x, lr):
    total = np.zeros_like(x)
    while True:
        g = gradient(x)
        total = total + g**2
        x = x - lr * g / (np.sqrt(total) + EPSILON)
        yield x


def adadelta(x, lr, rho=0.95):
    mean_square, mean_step = np.zeros_like(x), np.zeros_like(x)
    while True:
        g = gradient(x)
        mean_square = rho * mean_square + (1 - rho) * g**2
        step = np.sqrt(mean_step + EPSILON) / np.sqrt(mean_square + EPSILON) * g
        mean_step = rho * mean_step + (1 - rho) * step**2
        x = x - lr * step
        yield x


def adam(x, lr, b1=0.9, b2=0.999):
    m, v, t = np.zeros_like(x), np.zeros_like(x), 0
    while True:
        g, t = gradient(x), t + 1
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        x = x - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + EPSILON)
        yield x


def adamax(x, lr, b1=0.9, b2=0.999):
    m, u, t = np.zeros_like(x), np.zeros_like(x), 0
    while True:
        g, t = gradient(x), t + 1
        m, u = b1 * m + (1 - b1) * g, np.maximum(b2 * u, np.abs(g))
        x = x - lr / (1 - b1**t) * m / (u + EPSILON)
        yield x


def nadam(x, lr, b1=0.9, b2=0.999, decay=0.004):
    m, v, t, product = np.zeros_like(x), np.zeros_like(x), 0, 1.0
    while True:
        g, t = gradient(x), t + 1
        mu = b1 * (1 - 0.5 * 0.96 ** (t * decay))
        mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay))
        product *= mu
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        x = x - lr * m_hat / (np.sqrt(v / (1 - b2**t)) + EPSILON)
        yield x


REFERENCES = {
    "sgd": sgd,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adam": adam,
    "adamax": adamax,
    "nadam": nadam,
}


def test_there_is_a_reference_for_every_optimizer():
    assert sorted(REFERENCES) == group_options("optimizer")


@pytest.mark.parametrize("name", REFERENCES)
def test_twenty_steps_follow_the_published_formula(name):
    settings = compose_trial([f"optimizer={name}", "optimizer.lr=0.05"]).head.optimizer
    x = torch.nn.Parameter(torch.tensor(START))
    optimizer = hydra.utils.instantiate(settings, _partial_=True, _convert_="all")([x])
    matrix, target = torch.tensor(MATRIX), torch.tensor(TARGET)
    for _, expected in zip(range(20), REFERENCES[name](START, 0.05), strict=False):
        optimizer.zero_grad()
        ((matrix @ x - target) ** 2).sum().backward()
        optimizer.step()
        np.testing.assert_allclose(x.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "lr"),
    [
        ("sgd", 0.01),
        ("rmsprop", 0.001),
        ("adagrad", 0.01),
        ("adadelta", 1.0),
        ("adam", 0.001),
        ("adamax", 0.002),
        ("nadam", 0.002),
    ],
)
def test_learning_rates_are_those_of_keras(name, lr):
    assert compose_trial([f"optimizer={name}"]).finetune.optimizer.lr == lr
