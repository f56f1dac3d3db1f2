import numpy as np
import pytest

from tl_hpo.data.split import make_split
from tl_hpo.errors import UserError


@pytest.fixture
def official(make_table, split_config):
    """Split a table of one class per two images by the publisher's ``values``."""

    def split(values, *, groups=None, **settings):
        table = make_table([len(values) // 2] * 2, official=tuple(values), groups=groups)
        settings = {"groups": "video" if groups else "none"} | settings
        return make_split(table, split_config("official", **settings))

    return split


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "validation", "test"),
        ("Training", "valid", "TESTING"),
        ("TRAIN", "val", "Test"),
        (" train", "dev ", "test"),
    ],
)
def test_named_sides_are_taken_as_they_are(official, train, validation, test):
    made = official([train, test, validation, train] * 2)
    sides = {side: indices.tolist() for side, indices in made.split.sides().items()}
    assert sides == {"train": [0, 3, 4, 7], "validation": [2, 6], "test": [1, 5]}
    assert made.asked == {}


def test_validation_is_taken_from_training_where_there_is_none(official):
    made = official((["train"] * 10 + ["test"] * 5) * 2, validation=0.3)
    labels = made.table.labels
    assert np.bincount(labels[made.split.validation]).tolist() == [3, 3]
    assert np.bincount(labels[made.split.test]).tolist() == [5, 5]
    assert made.asked == pytest.approx({"train": 7 / 15, "validation": 3 / 15, "test": 5 / 15})


def test_validation_is_taken_by_groups(official):
    videos = tuple(f"{index // 5}" for index in range(60))
    made = official((["train"] * 20 + ["test"] * 10) * 2, groups=videos, validation=0.25)
    train, validation = (
        {videos[index] for index in side} for side in (made.split.train, made.split.validation)
    )
    assert len(validation) == 2
    assert not train & validation


def test_a_fold_is_tested_on_and_the_others_trained_on(official):
    values = ["1", "0", "10", "0", "1"] * 4
    for fold, tested in ((None, "0"), (0, "0"), (1, "1"), (2, "10")):
        made = official(values, fold=fold)
        assert made.split.test.tolist() == [i for i, value in enumerate(values) if value == tested]
        assert len(made.split.validation) > 0


def test_folds_may_be_named(official):
    made = official(["fold_2", "Fold 1", "fold_2", "fold_2"] * 2)
    assert made.split.test.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("values", "settings", "told"),
    [
        (["train", "", "test", ""], {}, r"got '' of 2 images in some"),
        (["train", "tset", "test", "fest"], {}, r"'fest' of 1 images, 'tset' of 1 images"),
        (["train", "test", "0", "1"], {}, r"sides test, train of 2 images and the folds 0, 1 of 2"),
        (["0", "1", "0", "1"], {"fold": 2}, r"split.fold must be .* got 2 of 2 \(0, 1\)"),
        (["0", "0", "0", "0"], {}, r"at least 2 .* got 0 of 1"),
        (["train", "test"] * 2, {"fold": 1}, r"split.fold must be null .* got 1 .* test, train"),
        (["test"] * 4, {}, r"none on train and validation"),
    ],
)
def test_what_is_no_split_is_told_by_name_and_number(official, values, settings, told):
    with pytest.raises(UserError, match=told):
        official(values, **settings)


def test_a_dataset_without_a_split_is_told_the_other_ways(make_table, split_config):
    with pytest.raises(UserError, match=r"dataset=some.* split=holdout or split=file"):
        make_split(make_table([2, 2]), split_config("official", groups="none"))
