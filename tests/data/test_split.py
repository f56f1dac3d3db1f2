import pytest

from tl_hpo.data.split import make_split
from tl_hpo.errors import UserError

VIDEOS = tuple(f"video{index // 2}" for index in range(40))


def parts(table, split):
    """Return the groups of each side."""
    return [{table.groups[index] for index in side} for side in split.sides().values()]


def test_config_gives_the_split_of_the_paper(make_table, split_config):
    made = make_split(make_table([100, 10]), split_config())
    assert [len(side) for side in made.split.sides().values()] == [77, 33, 0]
    assert made.asked == {"train": 0.7, "validation": 0.3, "test": 0}


def test_holdout_leaves_images_to_test_on(make_table, split_config):
    made = make_split(make_table([100, 10]), split_config("holdout", groups="none"))
    assert [len(side) for side in made.split.sides().values()] == [66, 22, 22]


def test_seed_of_the_top_level_changes_the_split(make_table, split_config):
    table = make_table([20, 20])
    splits = [
        make_split(table, split_config(seed=seed)).split.validation.tolist() for seed in (0, 1)
    ]
    assert splits[0] != splits[1]
    assert make_split(table, split_config()).split.validation.tolist() == splits[0]


def test_classes_of_two_images_give_one_to_each_side(make_table, split_config):
    split = make_split(make_table([2, 2]), split_config(validation=0.1)).split
    assert (len(split.train), len(split.validation)) == (2, 2)


def assert_apart(made):
    sides = parts(made.table, made.split)
    assert sum(map(len, sides)) == len(set.union(*sides))


@pytest.mark.parametrize("kind", ["random", "holdout", "kfold"])
def test_videos_are_kept_on_one_side_where_asked(make_table, split_config, kind):
    table = make_table([20, 20], groups=VIDEOS)
    made = make_split(table, split_config(kind, groups="video"))
    assert_apart(made)
    assert made.grouped


def test_images_are_split_one_by_one_where_asked_and_their_videos_stay_known(
    make_table, split_config
):
    table = make_table([20, 20], groups=VIDEOS)
    made = make_split(table, split_config("random"))
    train, validation, _ = parts(table, made.split)
    assert train & validation
    assert not made.grouped
    assert made.table.groups == VIDEOS


def test_the_table_knows_the_groups_that_were_kept_together(make_table, split_config):
    patients = tuple(f"patient{index % 10}" for index in range(40))
    table = make_table([20, 20], groups=VIDEOS, columns={"patient": patients})
    made = make_split(table, split_config("holdout", groups="patient"))
    assert made.table.groups == patients
    assert_apart(made)


def test_near_duplicates_are_kept_together_where_nothing_else_is_known(make_table, split_config):
    made = make_split(make_table([20, 20]), split_config("holdout"), lambda table: VIDEOS)
    assert made.table.groups == VIDEOS
    assert_apart(made)


def test_a_split_without_validation_is_refused(make_table, split_config):
    table = make_table([4, 4], groups=("one",) * 8)
    with pytest.raises(UserError, match=r"none on validation .*split.groups=none"):
        make_split(table, split_config("holdout"))


def test_a_split_without_training_is_refused(make_table, split_config):
    table = make_table([2, 2], official=("validation", "test") * 2)
    with pytest.raises(UserError, match="none on train with split=official"):
        make_split(table, split_config("official", groups="none"))
