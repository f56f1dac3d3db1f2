import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_hpo.data.sides import Split
from tl_hpo.data.split import make_split, random_split
from tl_hpo.data.split_file import read_split, write_split
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError
from tl_hpo.files import read_csv

few = settings(max_examples=60, deadline=None)  # a loaded machine is no failure
names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="/"), min_size=1
).filter(lambda name: name not in (".", ".."))
splits_of_files = st.dictionaries(
    names, st.tuples(st.integers(0, 1), st.integers(0, 2), st.one_of(st.none(), names)), min_size=1
)


@pytest.fixture
def written(make_table, tmp_path):
    """Write a split of eight images, its text changed by ``change``; return file and table."""

    def write(change=lambda text: text):
        table, path = make_table([4, 4]), tmp_path / "split.csv"
        write_split(path, table, random_split(table.labels, 0.25, 0))
        path.write_text(change(path.read_text()))
        return path, table

    return write


@few
@given(splits_of_files, st.lists(names, min_size=2, max_size=2, unique=True))
def test_what_was_written_is_read_back(images, classes):
    root = Path("/images")
    labels, sides, groups = zip(*images.values(), strict=True)
    paths = tuple(root / name for name in images)
    known = None if None in groups else groups
    table = ImageTable("some", root, tuple(classes), paths, np.array(labels), known)
    split = Split(*(np.flatnonzero(np.array(sides) == side) for side in range(3)))
    with tempfile.TemporaryDirectory() as folder:
        write_split(Path(folder) / "split.csv", table, split)
        read, read_groups = read_split(Path(folder) / "split.csv", table)
    assert read_groups == known
    assert all(map(np.array_equal, read.sides().values(), split.sides().values()))


@pytest.mark.parametrize("groups", [True, False])
def test_split_file_tells_every_image_sorted_by_path(make_table, tmp_path, groups):
    videos = tuple(f"video{index // 2}" for index in range(8)) if groups else None
    table = make_table([4, 4], groups=videos)
    split = random_split(table.labels, 0.3, 0)
    write_split(tmp_path / "split.csv", table, split)
    rows = read_csv(tmp_path / "split.csv")
    assert list(rows[0]) == ["path", "label", "side", "group"]
    assert [row["path"] for row in rows] == [table.relative(i) for i in range(8)]
    assert [row["label"] for row in rows] == list("aaaabbbb")
    chosen = [i for i, row in enumerate(rows) if row["side"] == "validation"]
    assert chosen == split.validation.tolist()
    assert rows[5]["group"] == ("video2" if groups else "")


def test_split_file_gives_the_split_and_the_groups_that_it_names(written, split_config):
    path, table = written(lambda text: text.replace("train,", "Training,patient"))
    made = make_split(table, split_config("file", file=str(path)))
    expected = random_split(table.labels, 0.25, 0)
    assert all(map(np.array_equal, made.split.sides().values(), expected.sides().values()))
    of_their_own = {table.relative(index) for index in expected.validation}
    assert set(made.table.groups) == {"patient", *of_their_own}
    assert made.asked == {}


def test_a_mark_of_a_spreadsheet_before_the_first_column_is_read_over(written):
    path, table = written(lambda text: "\ufeff" + text)
    assert len(read_split(path, table)[0].train) == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.replace("a/001.jpg", "a/01.jpg"), r"1 images without \(a/001.jpg\)"),
        (lambda t: t.split("a/003")[0], r"5 images without \(a/003.jpg, .*b/007.jpg\)"),
        (lambda t: t + "c/9.jpg,a,test,\n", r"1 others \(c/9.jpg\)"),
        (lambda t: t.replace("jpg,a", "jpg,b"), r"4 other labels \(a/000.jpg: b for a, "),
        (lambda t: t.replace("train", "tarin"), r"6 others \(.*jpg: 'tarin', .*, \.\.\.\)"),
        (lambda t: t + "a/000.jpg,a,test,\n", r"once, .* 1 several .*a/000.jpg: \w+ and test"),
        (lambda t: t.replace(",side", "").replace("path", "file"), r"without path, side"),
        (lambda t: "", r"without path, label, side, group"),
        (lambda t: t.replace("a/001.jpg,a", "a/001.jpg"), r"1 others \(a/001.jpg: ''"),
    ],
)
def test_what_does_not_match_is_told_by_name_and_number(written, change, told):
    path, table = written(change)
    with pytest.raises(UserError, match=told):
        read_split(path, table)


def test_no_file_is_told_by_name(make_table, tmp_path):
    with pytest.raises(UserError, match=r"got .*absent.csv \(No such file"):
        read_split(tmp_path / "absent.csv", make_table([2, 2]))
    with pytest.raises(UserError, match="Is a directory"):
        read_split(tmp_path, make_table([2, 2]))


def test_what_is_no_text_is_told(make_table, tmp_path):
    (tmp_path / "split.csv").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match="must be a csv file in UTF-8"):
        read_split(tmp_path / "split.csv", make_table([2, 2]))
