from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tl_hpo.data.table import ImageTable, absolute_root, check_counts
from tl_hpo.errors import UserError


def table(labels: list[int], classes: tuple[str, ...] = ("a", "b")) -> ImageTable:
    root = Path("/images")
    paths = tuple(root / classes[label] / f"{i}.jpg" for i, label in enumerate(labels))
    groups = tuple(f"video{i}" for i in range(len(labels)))
    return ImageTable("some", root, classes, paths, np.array(labels, dtype=np.int64), groups)


def test_counts_name_every_class_in_index_order():
    assert table([1, 0, 1], ("b", "a")).counts() == {"b": 1, "a": 2}


def test_counts_tell_an_absent_class():
    assert table([0, 0]).counts() == {"a": 2, "b": 0}


def test_subset_keeps_labels_paths_and_groups_together():
    part = table([0, 1, 1]).subset([2, 0])
    assert part.labels.tolist() == [1, 0]
    assert part.groups == ("video2", "video0")
    assert [part.relative(i) for i in range(len(part))] == ["b/2.jpg", "a/0.jpg"]


def test_subset_keeps_official_sides_and_columns():
    known = replace(table([0, 1]), official=("train", "test"), columns={"patient": ("p", "q")})
    part = known.subset([1])
    assert part.official == ("test",)
    assert part.columns == {"patient": ("q",)}


def test_subset_leaves_unknown_groups_unknown():
    bare = ImageTable("some", Path("/"), ("a",), (Path("/x"),), np.zeros(1, dtype=np.int64))
    assert bare.subset([0]).groups is None
    assert bare.subset([0]).official is None


def test_one_class_only_is_refused():
    with pytest.raises(UserError, match=r"at least 2 classes, got 1 \(a\)"):
        check_counts(table([0, 0, 0], ("a",)))


def test_class_with_one_image_is_refused_by_name():
    with pytest.raises(UserError, match=r"at least 2 images.*'b' has 1"):
        check_counts(table([0, 0, 1]))


@pytest.mark.parametrize("value", [None, "", "  "])
def test_root_that_is_not_set_tells_what_to_set(value):
    with pytest.raises(UserError, match=r"dataset.root=DIR"):
        absolute_root(value)


def test_root_may_begin_with_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute_root("~/x") == tmp_path / "x"
