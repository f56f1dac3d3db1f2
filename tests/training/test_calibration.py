import json

import numpy as np
import pytest
import torch
from scipy.optimize import brute

from tl_hpo.errors import UserError
from tl_hpo.training.calibration import (
    Calibration,
    CalibrationError,
    calibrated,
    calibration_error,
    fit_temperature,
    read_calibration,
    with_test,
    write_calibration,
)


@pytest.fixture
def make():
    """Make log-probabilities of a model whose logits are ``factor`` times the honest ones."""

    def scores(factor, images=4000, classes=4, seed=0):
        rng = np.random.default_rng(seed)
        honest = rng.normal(0, 1.5, (images, classes))
        shares = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
        target = np.array([rng.choice(classes, p=row) for row in shares])
        return torch.from_numpy(factor * honest).log_softmax(1).float(), torch.from_numpy(target)

    return scores


def error_by_hand(probabilities, target):
    """Equation 3 of Guo et al. (2017), in plain numpy."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == target
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [
        (bins == number).mean()
        * abs(right[bins == number].mean() - confidence[bins == number].mean())
        for number in np.unique(bins)
    ]
    return sum(gaps)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_the_logits_were_multiplied_by(make, factor):
    assert fit_temperature(*make(factor)) == pytest.approx(factor, rel=0.06)


def test_it_is_the_least_loss_that_trying_all_temperatures_finds(make):
    scores, target = make(2.0, images=200)
    losses = brute(
        lambda t: torch.nn.functional.cross_entropy(scores / float(t[0]), target).item(),
        (slice(0.5, 5, 0.005),),
        finish=None,
    )
    assert fit_temperature(scores, target) == pytest.approx(float(losses), abs=0.01)


def test_the_error_is_that_of_the_paper_and_falls(make):
    scores, target = make(3.0)
    result = with_test(calibrated(scores, target), *make(3.0, seed=1))
    before = error_by_hand(scores.double().exp().numpy(), target.numpy())
    assert result.validation.before == pytest.approx(before, abs=1e-6)
    scaled = (scores.double() / result.temperature).softmax(1).numpy()
    assert result.validation.after == pytest.approx(error_by_hand(scaled, target.numpy()), abs=1e-6)
    assert result.validation.after < 0.3 * result.validation.before
    assert result.test.after < 0.3 * result.test.before


def test_where_every_image_is_right_the_temperature_stays_one():
    scores = torch.tensor([[0.6, 0.4], [0.3, 0.7]]).log()
    assert fit_temperature(scores, torch.tensor([0, 1])) == 1.0
    assert fit_temperature(scores[:1], torch.tensor([0])) == 1.0


def test_where_every_image_is_wrong_it_is_bounded():
    scores = torch.tensor([[0.9, 0.1]]).log()
    assert fit_temperature(scores, torch.tensor([1])) == pytest.approx(10, rel=0.01)


def test_of_scores_that_are_not_finite_nothing_is_fitted():
    scores = torch.tensor([[0.0, -torch.inf], [-1.0, -0.4]])
    assert fit_temperature(scores, torch.tensor([1, 1])) == 1.0


def test_a_class_that_is_missing_does_no_harm(make):
    scores, target = make(2.0, images=300)
    seen = target != 3
    assert 1 < calibrated(scores[seen], target[seen]).temperature < 4


def test_an_error_of_one_image_is_its_gap():
    assert calibration_error(torch.tensor([[0.8, 0.2]]).log(), torch.tensor([0])) == pytest.approx(
        0.2, abs=1e-6
    )


def test_it_is_written_and_read_back(tmp_path):
    assert read_calibration(tmp_path) is None
    one = Calibration(1.5, CalibrationError(0.1, 0.05))
    for each in (one, with_test(one, torch.tensor([[0.8, 0.2]]).log(), torch.tensor([0]))):
        write_calibration(tmp_path, each)
        assert read_calibration(tmp_path) == each
    assert set(json.loads((tmp_path / "calibration.json").read_text())) == {
        "temperature", "validation", "test",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"temperature": 0, "validation": {}}', '{"temperature": 1}']
)
def test_a_file_that_is_another_is_refused(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(UserError, match="must be as it was written"):
        read_calibration(tmp_path)
