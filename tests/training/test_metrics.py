import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from tl_hpo.training.metrics import HEADLINE, averages, headline, per_class, summarise

SHARED_INPUTS = {
    "balanced": ([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], 3),
    "absent_in_target": ([0, 1, 2, 1, 0], [0, 1, 1, 1, 0], 3),
    "absent_in_prediction": ([0, 1, 1, 1, 0], [0, 1, 2, 1, 0], 3),
    "absent_in_both": ([0, 1, 3, 3, 0], [0, 1, 1, 3, 3], 4),
    "single_class_predicted": ([1] * 6, [0, 0, 1, 1, 2, 2], 3),
    "single_class_everywhere": ([1] * 4, [1] * 4, 2),
    "perfect": ([0, 1, 2, 3], [0, 1, 2, 3], 4),
    "all_wrong": ([1, 2, 0, 1], [0, 1, 2, 0], 3),
    "two_classes_all_wrong": ([1, 0, 1], [0, 1, 0], 2),
}


@pytest.fixture(params=SHARED_INPUTS.values(), ids=SHARED_INPUTS.keys())
def case(request):
    predicted, target, n_classes = request.param
    return np.array(predicted), np.array(target), n_classes


def _tensors(case):
    predicted, target, n_classes = case
    return torch.from_numpy(predicted), torch.from_numpy(target), n_classes


def _specificity(predicted, target, label):
    negatives = target != label
    return np.mean(predicted[negatives] != label) if negatives.any() else 0.0


def _check_summary(case):
    predicted, target, _ = case
    got = summarise(*_tensors(case))
    occurring = sorted({*predicted.tolist(), *target.tolist()})
    macro = {"average": "macro", "labels": occurring, "zero_division": 0}
    expected = {
        "accuracy": sk.accuracy_score(target, predicted),
        "balanced_accuracy": np.mean([np.mean(predicted[target == c] == c) for c in set(target)]),
        "f1": sk.f1_score(target, predicted, **macro),
        "mcc": sk.matthews_corrcoef(target, predicted),
        "precision": sk.precision_score(target, predicted, **macro),
        "recall": sk.recall_score(target, predicted, **macro),
        "specificity": np.mean([_specificity(predicted, target, c) for c in occurring]),
    }
    assert got == pytest.approx(expected, abs=1e-12)


def _check_classes(case):
    predicted, target, n_classes = case
    for label, row in enumerate(per_class(*_tensors(case))):
        true, positive = target == label, predicted == label
        counts = sk.confusion_matrix(true, positive, labels=[False, True]).ravel()
        assert (row.tn, row.fp, row.fn, row.tp) == tuple(counts)
        assert row.f1 == pytest.approx(sk.f1_score(true, positive, zero_division=0))
        assert row.accuracy == pytest.approx(sk.accuracy_score(true, positive))
        assert row.mcc == pytest.approx(sk.matthews_corrcoef(true, positive))
        assert row.precision == pytest.approx(sk.precision_score(true, positive, zero_division=0))
        assert row.recall == pytest.approx(sk.recall_score(true, positive, zero_division=0))
        assert row.specificity == pytest.approx(_specificity(predicted, target, label))
    assert label == n_classes - 1


def test_summary_equals_scikit_learn(case):
    _check_summary(case)


def test_classes_equal_scikit_learn(case):
    _check_classes(case)


@st.composite
def _cases(draw):
    n_classes = draw(st.integers(2, 6))
    labels = st.integers(0, n_classes - 1)
    pairs = draw(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
    predicted, target = np.array(pairs).T.copy()
    return predicted, target, n_classes


@settings(max_examples=25, deadline=None)
@given(_cases())
def test_random_inputs_equal_scikit_learn(case):
    _check_summary(case)
    _check_classes(case)


def test_macro_averages_leave_out_the_classes_torchmetrics_leaves_out(case):
    predicted, target, n_classes = _tensors(case)
    got = summarise(predicted, target, n_classes)
    for name in ("f1_score", "precision", "recall", "specificity"):
        macro = getattr(tm, f"multiclass_{name}")(predicted, target, n_classes, average="macro")
        assert got[name.removesuffix("_score")] == pytest.approx(macro.item(), abs=1e-6)


def test_average_row_holds_mean_one_against_rest_accuracy():
    case = SHARED_INPUTS["absent_in_both"]
    predicted, target = torch.tensor(case[0]), torch.tensor(case[1])
    row = averages(per_class(predicted, target, case[2]))
    assert row.accuracy == pytest.approx((4 / 5 + 4 / 5 + 3 / 5) / 3)
    assert row.tp == pytest.approx(1)


def test_no_images_give_zeros():
    empty = torch.zeros(0, dtype=torch.long)
    assert set(summarise(empty, empty, 3).values()) == {0.0}
    assert averages(per_class(empty, empty, 3)).f1 == 0.0


def test_headline_has_exactly_the_keys_of_best_json():
    summary = summarise(torch.tensor([0, 1]), torch.tensor([0, 0]), 2)
    assert tuple(headline(summary)) == HEADLINE


def test_ratios_are_not_rounded_to_float32():
    target = torch.zeros(20, dtype=torch.long)
    predicted = target.clone()
    predicted[0] = 1
    assert summarise(predicted, target, 2)["accuracy"] == 0.95


@pytest.mark.gpu
def test_counts_on_a_cuda_device():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    case = [torch.tensor(values, device="cuda") for values in SHARED_INPUTS["balanced"][:2]]
    assert summarise(*case, 3) == summarise(*(values.cpu() for values in case), 3)
