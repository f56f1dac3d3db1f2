import pytest

from tl_hpo.data.groups import resolve_groups
from tl_hpo.errors import UserError

VIDEOS = ("1", "1", "2", "2")
ALIKE = ("x", "y", "x", "z")


def alike(table):
    return ALIKE


def test_videos_where_known_else_near_duplicates(make_table):
    assert resolve_groups(make_table([2, 2], groups=VIDEOS), "auto", alike) == VIDEOS
    assert resolve_groups(make_table([2, 2]), "auto", alike) == ALIKE


def test_near_duplicates_where_asked(make_table):
    assert resolve_groups(make_table([2, 2], groups=VIDEOS), "near_duplicates", alike) == ALIKE


def test_none_where_asked(make_table):
    assert resolve_groups(make_table([2, 2], groups=VIDEOS), "none", alike) is None


def test_a_column_by_its_name(make_table):
    table = make_table([2, 2], groups=VIDEOS, columns={"site": ("a", "a", "a", "b")})
    assert resolve_groups(table, "site", alike) == ("a", "a", "a", "b")


def test_images_without_a_value_are_groups_of_their_own_and_told(make_table, caplog):
    table = make_table([2, 2], columns={"site": ("a", "", "a", " ")})
    assert resolve_groups(table, "site", alike) == ("a", "a/001.jpg", "a", "b/003.jpg")
    assert "2 images of some have no value for split.groups=site" in caplog.text
    assert "a/001.jpg, b/003.jpg" in caplog.text


def test_an_unknown_column_is_told_with_those_there_are(make_table):
    table = make_table([2, 2], columns={"patient": VIDEOS})
    with pytest.raises(UserError, match=r"split.groups .* 'pateint'.*patient"):
        resolve_groups(table, "pateint", alike)
    with pytest.raises(UserError, match="auto, near_duplicates, none, patient, video"):
        resolve_groups(table, "q", alike)


def test_videos_of_a_dataset_without_are_refused(make_table):
    with pytest.raises(UserError, match=r"split.groups=video .* dataset=some.* or none or site"):
        resolve_groups(make_table([2, 2], columns={"site": VIDEOS}), "video", alike)


@pytest.mark.parametrize("groups", ["auto", "near_duplicates"])
def test_near_duplicates_need_a_function_that_finds_them(make_table, groups):
    with pytest.raises(ValueError, match=f"split.groups={groups} needs a function"):
        resolve_groups(make_table([2, 2]), groups, None)
