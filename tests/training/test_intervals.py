import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from tl_hpo.training.intervals import differences, groups_per_class, intervals, resampled
from tl_hpo.training.metrics import HEADLINE

RNG = np.random.default_rng(0)
TARGET = torch.from_numpy(RNG.integers(0, 3, 300))
WRONG = torch.from_numpy(RNG.random(300) < 0.2)
PREDICTED = torch.where(WRONG, (TARGET + 1) % 3, TARGET)


def found(groups, seed=0, predicted=PREDICTED, target=TARGET):
    return intervals(resampled(predicted, target, 3, groups, seed), HEADLINE)


ONE_CLASS = torch.zeros(300, dtype=torch.long)


def theirs(values):
    """Resample means with scipy, which knows neither classes nor groups."""
    return bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval


def test_of_single_images_of_one_class_they_are_those_of_scipy():
    predicted = (RNG.random(300) < 0.2).astype(int)
    expected = theirs((predicted == 0).astype(float))
    ours = found([str(i) for i in range(300)], 0, torch.from_numpy(predicted), ONE_CLASS)
    assert ours["accuracy"] == pytest.approx((expected.low, expected.high), abs=0.006)


def test_of_groups_they_are_those_of_scipy_on_the_groups_means():
    """Groups of equal size: the share of correct images is the mean of the groups' shares."""
    correct = RNG.random(30)[:, None] > RNG.random((30, 10)) * 0.8
    expected = theirs(correct.mean(axis=1))
    predicted = torch.from_numpy(1 - correct.ravel().astype(int))
    ours = found([str(i // 10) for i in range(300)], 0, predicted, ONE_CLASS)
    assert ours["accuracy"] == pytest.approx((expected.low, expected.high), abs=0.012)


def test_of_classes_they_are_those_of_each_class_by_itself():
    """Recalls of classes are drawn apart: the variance of their mean is the sum of theirs."""
    groups = [str(i) for i in range(300)]
    drawn = resampled(PREDICTED, TARGET, 3, groups)["recall"]
    variance = 0.0
    for label in range(3):
        hits = (PREDICTED == TARGET)[label == TARGET].double().numpy()
        variance += hits.var() / len(hits) / 9
    assert drawn.std() == pytest.approx(variance**0.5, rel=0.06)


def test_a_class_of_one_group_varies_with_the_next_smallest():
    target = torch.tensor([0] * 20 + [1] * 8 + [2] * 6)
    predicted = torch.tensor([0] * 20 + [1] * 8 + [2] * 3 + [0] * 3)
    groups = [str(i) for i in range(28)] + ["video"] * 6
    assert groups_per_class(target, 3, groups) == [20, 8, 1]
    low, high = found(groups, 0, predicted, target)["accuracy"]
    assert low < 31 / 34 < high


def test_a_class_that_is_no_groups_most_frequent_is_counted_where_it_occurs():
    target = torch.tensor([0] * 6 + [1] * 5 + [0] * 5)
    groups = ["mixed"] * 11 + [str(i) for i in range(5)]
    assert groups_per_class(target, 3, groups) == [6, 1, 0]


def test_classes_of_few_groups_vary_together():
    """Four videos, one of each class: by themselves none of them would vary."""
    target = torch.arange(4).repeat_interleave(10)
    shares = [1.0, 0.9, 0.5, 0.2]
    predicted = torch.cat([(torch.arange(10) >= 10 * s).long() for s in shares]) + target
    groups = [str(i // 10) for i in range(40)]
    low, high = intervals(resampled(predicted, target, 5, groups), HEADLINE)["accuracy"]
    expected = theirs(np.array(shares))
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_images_of_one_group_stay_together():
    """Ten copies of each image tell no more than one: by group the interval stays as wide."""
    copies = found([str(i) for i in range(300)] * 10, 0, PREDICTED.repeat(10), TARGET.repeat(10))
    once = found([str(i) for i in range(300)])
    assert all(copies[name] == pytest.approx(once[name], abs=1e-12) for name in HEADLINE)
    apart = [str(i) for i in range(3000)]
    alone = found(apart, 0, PREDICTED.repeat(10), TARGET.repeat(10))
    width = {k: high - low for k, (low, high) in copies.items()}
    narrow = {k: high - low for k, (low, high) in alone.items()}
    assert all(narrow[k] < 0.5 * width[k] for k in HEADLINE)


def test_they_hold_the_figures_themselves_and_repeat_by_seed():
    groups = [str(i // 3) for i in range(300)]
    accuracy = (PREDICTED == TARGET).double().mean().item()
    low, high = found(groups)["accuracy"]
    assert low < accuracy < high
    assert found(groups) == found(groups)
    assert found(groups) != found(groups, seed=1)


def test_one_group_alone_has_no_spread():
    low, high = found(["a"] * 300)["accuracy"]
    assert low == high == pytest.approx((PREDICTED == TARGET).double().mean().item())


def test_a_class_that_no_resample_holds_is_no_error():
    target = torch.tensor([0, 0, 0, 2])
    result = found(["a", "b", "c", "d"], 0, torch.tensor([0, 0, 1, 2]), target)
    assert all(np.isfinite(bounds).all() for bounds in result.values())


def test_a_difference_is_wider_than_either_side():
    groups = [str(i) for i in range(300)]
    one, other = (
        resampled(PREDICTED, TARGET, 3, groups, 0),
        resampled(PREDICTED, TARGET, 3, groups, 1),
    )
    low, high = differences(one, other, HEADLINE)["accuracy"]
    assert low < 0 < high
    assert high - low > 1.2 * np.ptp(intervals(one, HEADLINE)["accuracy"])
