from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from tl_hpo.data.split import make_split, random_split, write_split
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError
from tl_hpo.files import read_csv


def make_table(sizes: list[int], groups: bool = False) -> ImageTable:
    root, classes = Path("/images"), tuple("abcdefgh"[: len(sizes)])
    labels = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    paths = tuple(root / classes[label] / f"{i:03d}.jpg" for i, label in enumerate(labels))
    videos = tuple(f"video{i // 2}" for i in range(len(labels))) if groups else None
    return ImageTable("some", root, classes, paths, labels, videos)


sizes_of_classes = st.lists(st.integers(2, 40), min_size=2, max_size=8)
shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)  # a loaded machine is no failure


@few
@given(sizes_of_classes, shares, seeds, st.randoms(use_true_random=False))
def test_sides_are_disjoint_complete_and_stratified(sizes, share, seed, random):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    random.shuffle(labels)
    split = random_split(labels, share, seed)
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together) == list(range(len(labels)))
    held_out = Counter(labels[split.validation].tolist())
    for label, size in enumerate(sizes):
        assert 1 <= held_out[label] <= size - 1
        assert abs(held_out[label] - share * size) <= 1


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


def test_config_gives_the_split_of_the_paper(split_config):
    split = make_split(make_table([100, 10]), split_config())
    assert (len(split.train), len(split.validation), len(split.test)) == (77, 33, 0)


def test_seed_of_the_top_level_changes_the_split(split_config):
    table = make_table([20, 20])
    splits = [make_split(table, split_config(seed=seed)).validation.tolist() for seed in (0, 1)]
    assert splits[0] != splits[1]
    assert make_split(table, split_config()).validation.tolist() == splits[0]


def test_classes_of_two_images_give_one_to_each_side(split_config):
    split = make_split(make_table([2, 2]), split_config(validation=0.1))
    assert (len(split.train), len(split.validation)) == (2, 2)


@pytest.mark.parametrize("share", [0, 1, -0.3, 1.5, 30, float("nan"), "much", None, True])
def test_share_outside_zero_and_one_is_refused(split_config, share):
    with pytest.raises(UserError, match=r"split.validation must be a share"):
        make_split(make_table([4, 4]), split_config(validation=share))


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "x", None])
def test_seed_that_is_none_is_refused(split_config, seed):
    with pytest.raises(UserError, match="seed must be a whole number"):
        make_split(make_table([4, 4]), split_config(seed=seed))


def test_groups_are_refused_by_the_random_split(split_config):
    with pytest.raises(UserError, match=r"split.groups must be none .* got 'video'"):
        make_split(make_table([4, 4]), split_config(groups="video"))


def test_unknown_kind_is_refused(split_config):
    with pytest.raises(UserError, match=r"split.kind .* 'randm'.*random"):
        make_split(make_table([4, 4]), split_config(kind="randm"))


@pytest.mark.parametrize("groups", [True, False])
def test_split_file_tells_every_image_sorted_by_path(tmp_path, split_config, groups):
    table = make_table([4, 4], groups)
    split = make_split(table, split_config())
    write_split(tmp_path / "split.csv", table, split)
    rows = read_csv(tmp_path / "split.csv")
    assert list(rows[0]) == ["path", "label", "side", "group"]
    assert [row["path"] for row in rows] == [table.relative(i) for i in range(8)]
    assert [row["label"] for row in rows] == list("aaaabbbb")
    chosen = [i for i, row in enumerate(rows) if row["side"] == "validation"]
    assert chosen == split.validation.tolist()
    assert rows[5]["group"] == ("video2" if groups else "")
