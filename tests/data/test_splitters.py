from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit

from tl_hpo.data import folds
from tl_hpo.data.splitters import grouped_split, kfold_split, random_split, stratified_split
from tl_hpo.errors import UserError

sizes_of_classes = st.lists(st.integers(2, 40), min_size=2, max_size=8)
shares = st.floats(0.01, 0.99)
small_shares = st.floats(0.01, 0.49)
seeds = st.integers(0, 2**32 - 1)
# A label and a group for each image.
images = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 11)), min_size=2, max_size=60)
few = settings(max_examples=40, deadline=None)  # a loaded machine is no failure


def as_arrays(pairs):
    labels, groups = (np.array(column) for column in zip(*pairs, strict=True))
    return np.unique(labels, return_inverse=True)[1], groups


def assert_complete(split, number):
    assert sorted(np.concatenate(list(split.sides().values()))) == list(range(number))


def assert_apart(split, groups):
    sides = [set(groups[side].tolist()) for side in split.sides().values()]
    assert sum(map(len, sides)) == len(set.union(*sides))


@few
@given(sizes_of_classes, shares, seeds, st.randoms(use_true_random=False))
def test_sides_are_disjoint_complete_and_stratified(sizes, share, seed, random):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    random.shuffle(labels)
    split = random_split(labels, share, seed)
    assert_complete(split, len(labels))
    held_out = Counter(labels[split.validation].tolist())
    for label, size in enumerate(sizes):
        assert 1 <= held_out[label] <= size - 1
        assert abs(held_out[label] - share * size) <= 1


@few
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), small_shares, small_shares, seeds)
def test_small_classes_are_trained_on_first_then_validated_on_then_tested_on(
    sizes, validation, test, seed
):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    split = stratified_split(labels, validation, test, seed)
    assert_complete(split, len(labels))
    for label, size in enumerate(sizes):
        n_train, n_validation, n_test = (
            np.sum(labels[side] == label) for side in split.sides().values()
        )
        assert n_train >= 1
        assert (n_validation >= 1) == (size >= 2)
        assert (n_test >= 1) == (size >= 3)
        if n_train > 1:
            assert abs(n_validation - validation * size) <= 1
            assert abs(n_test - test * size) <= 1


@few
@given(sizes_of_classes, shares, seeds)
def test_same_seed_gives_the_same_split(sizes, share, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    one, two = random_split(labels, share, seed), random_split(labels, share, seed)
    np.testing.assert_array_equal(one.train, two.train)
    np.testing.assert_array_equal(one.validation, two.validation)


def test_proportions_equal_those_of_scikit_learn_where_it_can_split():
    labels = np.repeat(np.arange(3), [100, 50, 30])
    reference = StratifiedShuffleSplit(1, test_size=0.3, random_state=0)
    _, held_out = next(reference.split(labels, labels))
    ours = random_split(labels, 0.3, 0).validation
    assert np.bincount(labels[ours]).tolist() == np.bincount(labels[held_out]).tolist()


@few
@given(images, small_shares, st.one_of(st.just(0.0), small_shares), seeds)
def test_no_group_is_parted_and_every_class_is_trained_on(pairs, validation, test, seed):
    labels, groups = as_arrays(pairs)
    split = grouped_split(labels, groups, validation, test, seed)
    assert_complete(split, len(labels))
    assert_apart(split, groups)
    assert set(labels[split.train]) == set(labels)
    again = grouped_split(labels, groups, validation, test, seed)
    assert all(map(np.array_equal, split.sides().values(), again.sides().values()))


@few
@given(st.lists(st.integers(3, 6), min_size=2, max_size=2), st.integers(1, 4), seeds)
def test_every_class_of_three_groups_or_more_is_on_every_side(videos, frames, seed):
    labels = np.repeat(np.arange(len(videos)), np.array(videos) * frames)
    groups = np.arange(sum(videos) * frames) // frames
    split = grouped_split(labels, groups, 0.2, 0.2, seed)
    for side in split.sides().values():
        assert set(labels[side]) == set(labels)


def test_a_class_of_two_groups_is_trained_on_and_validated_on():
    labels, groups = np.repeat([0, 1], [50, 10]), np.repeat(np.arange(12), 5)
    split = grouped_split(labels, groups, 0.2, 0.2, 0)
    assert {side: int((labels[i] == 1).sum()) for side, i in split.sides().items()} == {
        "train": 5,
        "validation": 5,
        "test": 0,
    }


def test_groups_of_one_size_give_the_shares_asked_for():
    labels, groups = np.repeat(np.arange(4), 60), np.arange(240) // 6
    split = grouped_split(labels, groups, 0.2, 0.2, 0)
    counts = [np.bincount(labels[side]).tolist() for side in split.sides().values()]
    assert counts == [[36] * 4, [12] * 4, [12] * 4]


def test_other_seeds_give_other_splits():
    labels, groups = np.repeat(np.arange(2), 60), np.arange(120) // 6
    tested = {tuple(grouped_split(labels, groups, 0.2, 0.2, seed).test) for seed in range(5)}
    assert len(tested) > 1


def test_groups_of_unequal_size_come_nearer_than_a_fold_of_scikit_learn():
    rng = np.random.default_rng(0)
    groups = rng.choice(30, size=2000, p=rng.dirichlet(np.ones(30)))
    labels = (groups + rng.integers(0, 2, 2000)) % 4
    wanted = 0.2 * np.bincount(labels)

    def off(held_out):
        return np.abs(np.bincount(labels[held_out], minlength=4) - wanted).sum()

    ours = off(grouped_split(labels, groups, 0.2, 0.0, 0).validation)
    for seed in range(5):
        reference = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for _, held_out in reference.split(labels, labels, groups):
            assert ours <= off(held_out)


def test_images_that_are_all_alone_are_split_one_by_one():
    labels = np.repeat(np.arange(8), 1250)
    alone, plain = (
        grouped_split(labels, np.arange(10_000), 0.2, 0.2, 3),
        stratified_split(labels, 0.2, 0.2, 3),
    )
    assert all(map(np.array_equal, alone.sides().values(), plain.sides().values()))


def test_the_time_for_many_groups_is_bounded(monkeypatch):
    spent = []

    class Counting(StratifiedGroupKFold):
        def split(self, X, y, groups):
            spent.append(len(np.unique(groups)) * self.n_splits)
            return super().split(X, y, groups)

    monkeypatch.setattr(folds, "StratifiedGroupKFold", Counting)
    monkeypatch.setattr(folds, "WORK", 10_000)
    labels, groups = np.arange(1200) % 3, np.arange(1200) // 2
    split = grouped_split(labels, groups, 0.2, 0.0, 0)
    assert 0 < sum(spent) <= 10_000
    assert abs(len(split.validation) - 240) <= 4


def test_a_share_smaller_than_a_few_folds_is_met():
    labels, groups = np.arange(1000) % 2, np.arange(1000) // 5
    assert 15 <= len(grouped_split(labels, groups, 0.02, 0.0, 0).validation) <= 25


@few
@given(images, st.integers(3, 5), st.booleans(), seeds)
def test_over_all_folds_every_image_is_tested_and_validated_on_once(pairs, number, grouped, seed):
    labels, groups = as_arrays(pairs)
    if len(set(groups.tolist())) < number or np.bincount(labels).max() < number:
        return
    of_image = groups if grouped else None
    splits = [kfold_split(labels, of_image, number, fold, seed) for fold in range(number)]
    for side in ("validation", "test"):
        together = np.concatenate([split.sides()[side] for split in splits])
        assert sorted(together) == list(range(len(labels)))
    for split in splits:
        assert_complete(split, len(labels))
        if grouped:
            assert_apart(split, groups)


def test_folds_of_single_images_are_those_of_scikit_learn():
    labels = np.repeat(np.arange(3), [20, 15, 10])
    reference = StratifiedKFold(5, shuffle=True, random_state=4).split(labels, labels)
    for fold, (_, tested) in enumerate(reference):
        np.testing.assert_array_equal(kfold_split(labels, None, 5, fold, 4).test, tested)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (np.arange(12) // 4, "at most the number of groups, 3, got 5"),
        (None, "at most the number of images of the largest class, 4, got 5"),
    ],
)
def test_more_folds_than_there_can_be_are_refused(groups, told):
    with pytest.raises(UserError, match=told):
        kfold_split(np.arange(12) // 4, groups, 5, 0, 0)
