import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score

from tl_hpo.data.split import Split
from tl_hpo.files import read_csv
from tl_hpo.training.calibration import fit_temperature, read_calibration
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.judgement import (
    TEST,
    VALIDATION,
    groups_of,
    is_tested,
    read_predictions,
    write_judgement,
)
from tl_hpo.training.worker import TrialData, Worker

RNG = np.random.default_rng(0)


@pytest.fixture
def data(trial_config) -> TrialData:
    config = trial_config()
    return Worker(config).data(config, (32, 32))


@pytest.fixture
def split() -> Split:
    return Split(np.arange(0, 36, 3), np.arange(1, 36, 3), np.arange(2, 36, 3))


def guess(data: TrialData, indices: np.ndarray) -> Predictions:
    target = torch.from_numpy(data.table.labels[indices])
    predicted = torch.from_numpy(RNG.integers(0, 3, len(indices)))
    return Predictions(predicted, target, torch.from_numpy(RNG.random(len(indices))))


@pytest.fixture
def judged(data, split) -> dict[str, Predictions]:
    return {VALIDATION: guess(data, split.validation), TEST: guess(data, split.test)}


def test_both_sides_are_written_and_read_back(tmp_path, data, split, judged):
    write_judgement(tmp_path, data.table, split, judged)
    for side, expected in judged.items():
        found = read_predictions(tmp_path, data.table, split, side)
        assert torch.equal(found.predicted, expected.predicted)
        assert torch.equal(found.target, expected.target)
        assert found.confidence.tolist() == pytest.approx(expected.confidence.tolist(), abs=1e-6)
    assert is_tested(tmp_path)
    sides = [row["side"] for row in read_csv(tmp_path / "predictions.csv")]
    assert sides == [VALIDATION] * 12 + [TEST] * 12


def test_figures_of_each_side_are_those_of_scikit_learn(tmp_path, data, split, judged):
    write_judgement(tmp_path, data.table, split, judged)
    written = json.loads((tmp_path / "metrics.json").read_text())
    for side, table in ((VALIDATION, written), (TEST, written["test_side"])):
        true, predicted = judged[side].target, judged[side].predicted
        expected = confusion_matrix(true, predicted, labels=[0, 1, 2])
        assert table["confusion"] == expected.tolist()
        f1 = f1_score(true, predicted, average="macro")
        assert written[side]["f1"] == pytest.approx(f1)
        low, high = written["intervals"][side]["f1"]
        assert low < f1 < high
    difference = written["test"]["f1"] - written["validation"]["f1"]
    low, high = written["intervals"]["difference"]["f1"]
    assert low < difference < high


def test_without_a_test_side_there_is_none(tmp_path, data, split, judged):
    write_judgement(tmp_path, data.table, split, {VALIDATION: judged[VALIDATION]})
    assert not is_tested(tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["test"] is None
    assert set(written["intervals"]) == {VALIDATION}


def test_groups_of_a_side_are_the_tables_or_the_images_themselves(data, split):
    assert len(set(groups_of(data.table, split, TEST))) == 12
    named = data.table.subset(range(36))
    object.__setattr__(named, "groups", tuple("abc"[i // 12] for i in range(36)))
    assert groups_of(named, split, TEST) == list("aaaabbbbcccc")


def with_scores(data: TrialData, indices: np.ndarray) -> Predictions:
    scores = torch.from_numpy(RNG.normal(0, 2, (len(indices), 3))).log_softmax(dim=1)
    confidence, predicted = scores.exp().max(dim=1)
    target = torch.from_numpy(data.table.labels[indices])
    return Predictions(predicted, target, confidence, scores)


def test_the_temperature_is_fitted_once_and_stays_when_the_test_side_follows(tmp_path, data, split):
    validation = with_scores(data, split.validation)
    write_judgement(tmp_path, data.table, split, {VALIDATION: validation})
    first = read_calibration(tmp_path)
    assert first.temperature == fit_temperature(validation.scores, validation.target)
    assert first.test is None
    kept = read_predictions(tmp_path, data.table, split, VALIDATION)
    sides = {VALIDATION: kept, TEST: with_scores(data, split.test)}
    write_judgement(tmp_path, data.table, split, sides)
    second = read_calibration(tmp_path)
    assert (second.temperature, second.validation) == (first.temperature, first.validation)
    assert second.test is not None


def test_without_the_probabilities_of_all_classes_there_is_no_temperature(
    tmp_path, data, split, judged
):
    write_judgement(tmp_path, data.table, split, judged)
    assert read_calibration(tmp_path) is None
