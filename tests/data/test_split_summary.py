import json

import numpy as np
import pytest

from tl_hpo.data.sides import Split
from tl_hpo.data.split import SplitTable, make_split
from tl_hpo.data.split_summary import Deviation, describe_split


def split_of(sides):
    """Return the split that a letter per image describes: t, v or s (test)."""
    letters = np.array(list(sides))
    return Split(*(np.flatnonzero(letters == letter) for letter in "tvs"))


def test_shares_are_told_beside_those_asked_for(make_table, split_config):
    summary = describe_split(
        make_split(make_table([100, 10]), split_config("holdout", groups="none"))
    )
    assert summary.images == {"train": 66, "validation": 22, "test": 22}
    assert summary.got == pytest.approx({"train": 0.6, "validation": 0.2, "test": 0.2})
    assert summary.lines()[0] == (
        "Split: train 66 images, 60.0 % (asked 60), validation 22 images, 20.0 % (asked 20), "
        "test 22 images, 20.0 % (asked 20)"
    )
    assert summary.warnings() == []


def test_the_class_furthest_off_is_told(make_table):
    asked = {"train": 0.5, "validation": 0.5, "test": 0.0}
    made = SplitTable(make_table([4, 4]), split_of("ttvvtttv"), asked, grouped=False)
    summary = describe_split(made)
    assert summary.furthest == Deviation("b", "train", 0.75, 0.5)
    assert summary.lines()[1] == "Furthest off: class b, 75.0 % on train (asked 50)"
    assert "test" not in summary.lines()[0]


def test_no_class_is_called_off_that_is_not_to_a_tenth_of_a_percent(make_table, split_config):
    exact = describe_split(make_split(make_table([10, 5]), split_config("holdout", groups="none")))
    assert exact.furthest.got == pytest.approx(exact.furthest.asked)
    assert not any("Furthest off" in line for line in exact.lines())


def test_nothing_is_compared_where_nothing_was_asked_for(make_table):
    summary = describe_split(SplitTable(make_table([2, 2]), split_of("tvtv"), {}, grouped=False))
    assert summary.furthest is None
    assert summary.lines() == ["Split: train 2 images, 50.0 %, validation 2 images, 50.0 %"]


def test_classes_absent_from_a_side_are_told_by_name_and_number(make_table):
    made = SplitTable(make_table([3, 3, 3]), split_of("tvstvvvvv"), {}, grouped=False)
    summary = describe_split(made)
    assert summary.absent == {"train": {"c": 3}, "test": {"b": 3, "c": 3}}
    assert summary.warnings() == [
        "1 classes are absent from the side train (c: 3 images elsewhere)",
        "2 classes are absent from the side test (b: 3 images elsewhere, c: 3 images elsewhere)",
    ]


def test_a_side_that_was_asked_for_and_is_empty_lacks_all_classes(make_table, split_config):
    table = make_table([4, 4], groups=tuple("11223344"))
    summary = describe_split(make_split(table, split_config("holdout")))
    assert summary.absent == {"test": {"a": 4, "b": 4}}
    assert "test 0 images, 0.0 % (asked 20)" in summary.lines()[0]


def test_a_group_larger_than_a_side_is_told(make_table, split_config):
    table = make_table([30, 30], groups=("big",) * 15 + tuple(f"{i // 3}" for i in range(45)))
    made = make_split(table, split_config("holdout"))
    summary = describe_split(made)
    assert summary.oversized == {"big": 15}
    assert "larger than a side that was asked for (big: 15 images)" in summary.warnings()[0]
    assert (summary.groups, summary.largest) == (16, 15)
    assert "Groups: 16, each on one side; the largest has 15 images" in summary.lines()


def test_groups_on_several_sides_are_told(make_table):
    table = make_table([4, 4], groups=tuple("11223344"))
    summary = describe_split(SplitTable(table, split_of("tvttvstt"), {}, grouped=False))
    assert summary.crossing == ("1", "3")
    assert "2 of 4 groups lie on several sides (1, 3)" in summary.warnings()[-1]
    assert "Groups: 4; the largest has 2 images" in summary.lines()


def test_warnings_can_do_without_the_names_of_groups(make_table, split_config):
    table = make_table([4, 4], groups=tuple("11223344"))
    crossing = describe_split(SplitTable(table, split_of("tvttvstt"), {}, grouped=False))
    assert crossing.warnings(named=False)[-1] == (
        "2 of 4 groups lie on several sides, which flatters the figures; split=holdout keeps each "
        "on one"
    )
    table = make_table([30, 30], groups=("big",) * 15 + tuple(f"{i // 3}" for i in range(45)))
    oversized = describe_split(make_split(table, split_config("holdout")))
    assert oversized.warnings(named=False)[0] == (
        "1 groups are larger than a side that was asked for"
    )


def test_official_sides_that_part_groups_are_told(make_table, split_config):
    table = make_table([4, 4], groups=tuple("11112222"), official=("train", "val") * 4)
    assert describe_split(make_split(table, split_config("official"))).crossing == ("1", "2")


def test_it_can_be_written_as_json(make_table, split_config):
    table = make_table([12, 12], groups=tuple(f"{i // 2}" for i in range(24)))
    summary = describe_split(make_split(table, split_config("holdout")))
    kept = json.loads(json.dumps(summary.as_dict()))
    assert kept["asked"] == pytest.approx({"train": 0.6, "validation": 0.2, "test": 0.2})
    assert kept["images"] == dict(summary.images)
    assert kept["furthest"]["side"] in kept["asked"]
    assert kept["crossing"] == []
