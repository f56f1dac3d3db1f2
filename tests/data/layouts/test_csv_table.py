import logging

import numpy as np
import pandas as pd
import pytest

from tl_hpo.data import images as images_module
from tl_hpo.data.sources import load_table
from tl_hpo.data.store import DecodedStore
from tl_hpo.errors import UserError

NAMES = ("p/1.png", "p/2.png", "q/1.png", "q/2.png")
LABELS = ("polyp", "polyp", "cecum", "cecum")


@pytest.fixture
def load(plant, dataset):
    """Load the table of this text, or these columns as Parquet, beside planted images."""

    def run(content, name="table.csv", encoding="utf-8", **settings):
        path = plant(*NAMES) / name
        if isinstance(content, dict):
            pd.DataFrame(content).to_parquet(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return load_table(dataset("csv", table=path, **settings))

    return run


def text(*columns, names=("path", "label"), separator=","):
    rows = zip(NAMES, LABELS, *columns, strict=True)
    return "\n".join(separator.join(row) for row in [names, *rows]) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_paths_and_labels_are_read_with_every_separator(load, separator, encoding):
    table = load(text(separator=separator), encoding=encoding)
    assert table.classes == ("cecum", "polyp")
    assert [table.relative(i) for i in range(4)] == ["q/1.png", "q/2.png", "p/1.png", "p/2.png"]
    assert table.labels.tolist() == [0, 0, 1, 1]
    assert all(path.is_file() for path in table.paths)
    assert (table.groups, table.official) == (None, None)
    assert table.columns == {"label": ("cecum", "cecum", "polyp", "polyp")}


def test_the_same_images_come_in_the_order_of_the_layout_folder(load, plant, dataset):
    rows = [f"{name},{name[0]}" for name in reversed(NAMES)]
    folder = load_table(dataset("folder", root=plant(*NAMES)))
    table = load("\n".join(["path,label", *rows]))
    assert table.paths == folder.paths
    assert table.classes == folder.classes


def test_a_separator_within_quotes_or_other_columns_is_none(load):
    content = text(("a;b;c", "", '"x, y"', '"two\nlines"'), names=("path", "label", "note;s"))
    assert load(content).columns["note;s"] == ("x, y", "two\nlines", "a;b;c", "")


def test_group_and_split_columns_are_kept_with_all_others(load):
    content = text(("a", "", "b", "b"), ("0", "1", "", "1"), ("NA", "1.0", "", "x"),
                   names=("path", "label", "patient", "fold", "device"))  # fmt: skip
    table = load(content, group_column="patient", split_column="fold")
    assert table.groups == ("b", "b", "a", "p/2.png")
    assert table.official == ("", "1", "0", "1")
    assert table.columns == {
        "label": ("cecum", "cecum", "polyp", "polyp"),
        "patient": ("b", "b", "a", ""),
        "fold": ("", "1", "0", "1"),
        "device": ("", "x", "NA", "1.0"),
    }


def test_columns_may_have_other_names_and_paths_another_root(dataset, plant, tmp_path):
    root = plant(*NAMES)
    rows = [f"{label},{name.partition('/')[2]}" for label, name in zip("aabb", NAMES, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["class, file", *rows[:2], "", "b,../q/1.png",
                                               f"b,{root}/q/2.png"]))  # fmt: skip
    settings = {"path_column": "file", "label_column": "class", "root": root / "p"}
    table = load_table(dataset("csv", table=tmp_path / "t.csv", **settings))
    outside = [(root / name).as_posix() for name in NAMES[2:]]
    assert [table.relative(i) for i in range(4)] == ["1.png", "2.png", *outside]


def test_blank_lines_before_the_header_and_between_rows_are_none(load):
    assert len(load("\n\n" + text().replace("\n", "\n\n"))) == 4


def test_labels_in_any_script_and_numbers_as_numbers(load):
    content = "path,label\na,10\nb,10\nc,9\nd,9\ne,-1.5\nf,-1.5\n"
    assert load(content).classes == ("-1.5", "9", "10")
    content = "path,label\na,полип\nb,полип\nc,正常\nd,正常\ne,צואה\nf,צואה\n"
    assert load(content).classes == ("полип", "צואה", "正常")


@pytest.mark.parametrize("name", ["table.parquet", "table.PQ"])
def test_parquet_says_the_same_as_csv(load, name):
    kept = {"path": NAMES, "label": LABELS, "fold": [0.0, 1.0, None, 0.5], "age": [1, 2, 3, 4]}
    table = load(kept, name, split_column="fold")
    same = load(text(("0", "1", "", "0.5"), ("1", "2", "3", "4"),
                     names=("path", "label", "fold", "age")), split_column="fold")  # fmt: skip
    assert table.paths == same.paths
    assert table.columns == same.columns
    assert table.official == same.official


@pytest.mark.parametrize("labels", [[10, 10, 9, 9], [10.0, 10.0, 9.0, 9.0]])
def test_numbers_of_parquet_are_whole_and_in_order(load, labels):
    assert load({"path": NAMES, "label": labels}, "t.parquet").classes == ("9", "10")


def test_images_within_parquet_are_no_columns(load):
    content = {"path": NAMES, "label": LABELS, "image": [b"x"] * 4, "size": [[1, 2]] * 4}
    assert set(load(content, "t.parquet").columns) == {"label"}


@pytest.mark.parametrize("role", ["path", "label", "group", "split"])
def test_an_unknown_column_is_told_with_those_that_there_are(load, role):
    told = (
        rf"dataset.{role}_column must be a column of .*, got 'labl'; the columns are: path, label"
    )
    with pytest.raises(UserError, match=told):
        load(text(), **{f"{role}_column": "labl"})


@pytest.mark.parametrize("role", ["path", "label"])
def test_paths_and_labels_must_have_a_column(load, role):
    with pytest.raises(UserError, match=rf"dataset.{role}_column .*'null'"):
        load(text(), **{f"{role}_column": None})


@pytest.mark.parametrize(
    ("table", "words"),
    [(None, "got none; add dataset.table=FILE"), ("no.csv", "nothing is there"), (".", "a folder")],
)
def test_a_missing_table_is_refused(dataset, table, words):
    with pytest.raises(UserError, match=words):
        load_table(dataset("csv", table=table))


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "t.csv", "empty"),
        (b"\n \n", "t.csv", "empty"),
        (b"path,label\n", "t.csv", "without any row"),
        (b"path,label\n\n,\n", "t.csv", "without any row"),
        (b"\x89PNG\r\n\x1a\n", "t.csv", "0x89 at 0 is not UTF-8"),
        ("path,label\na,größe\n".encode("latin-1"), "t.csv", "not UTF-8"),
        ("path,label\na,b\n".encode("utf-16-le"), "t.csv", "UTF-16"),
        (b"path,label\na,b\na,b,c\n", "t.csv", "Expected 2 fields in line 3, saw 3"),
        (b"path,label\na,b,c\na,b\n", "t.csv", "Expected 2 fields in line 2, saw 3"),
        (b"path,label,label\na,b,c\n", "t.csv", "several columns 'label'"),
        (b"x" * 200_000, "t.csv", "field larger"),
        (b'path,label\n"a,b\n', "t.csv", "dataset.table must be a csv file"),
        (b"path,label\na,b\n", "t.parquet", "Parquet"),
        (b"", "t.parquet", "Parquet"),
        ({"path": [], "label": []}, "t.parquet", "without any row"),
    ],
)
def test_what_is_no_table_is_refused(load, content, name, words):
    with pytest.raises(UserError, match=words):
        load(content, name)


@pytest.mark.parametrize(("column", "row"), [("label", "a,"), ("label", "a"), ("path", " ,x")])
def test_empty_cells_are_told_by_row(load, column, row):
    rows = [row] * 6
    words = rf"column '{column}', got 6 without \(rows 6, 8, 9, 10, 11, \.\.\.; the header"
    with pytest.raises(UserError, match=words):
        load(text() + "\n".join([rows[0], "", *rows[1:]]))


def test_zero_bytes_in_a_path_are_refused(load):
    with pytest.raises(UserError, match=r"rows 2;"):
        load({"path": ["a\0b", "c"], "label": ["x", "y"]}, "t.parquet")


@pytest.mark.parametrize("different", ["label", "group", "split"])
def test_an_image_of_which_two_things_are_said_is_refused(load, different):
    first = {"path": "p/1.png", "label": "polyp", "group": "g", "split": "0"}
    other = first | {"path": "./p/1.png", different: "other"}
    rows = [",".join(row.values()) for row in (first, other, other)]
    with pytest.raises(UserError, match=r"got 1 in several rows that differ .* \(./p/1.png\)"):
        load("\n".join(["path,label,group,split", *rows]),
             group_column="group", split_column="split")  # fmt: skip


def test_repeated_rows_are_merged_and_told(load, caplog):
    with caplog.at_level(logging.WARNING):
        table = load(text() + "p/1.png,polyp\nq/../p/2.png,polyp\n")
    assert len(table) == 4
    assert "2 rows of" in caplog.text
    assert "(p/1.png, q/../p/2.png)" in caplog.text


def test_a_root_that_is_no_folder_is_refused(load, tmp_path):
    with pytest.raises(UserError, match=r"dataset.root must be the folder .* got .*absent"):
        load(text(), root=tmp_path / "absent")


@pytest.mark.parametrize("missing", ["gone.png", "p", "x" * 300 + ".png"])
def test_files_that_do_not_exist_are_told_with_those_that_cannot_be_read(
    load, tmp_path, caplog, monkeypatch, missing
):
    monkeypatch.setattr(images_module, "_told", set())
    table = load(text() + f"{missing},polyp\n")
    assert len(table) == 5
    store = DecodedStore(tmp_path / "store")
    with pytest.raises(UserError, match=rf"got 0.200 \(1 of 5: {missing}\)"):
        store.images(table, 8)
    with caplog.at_level(logging.WARNING):
        kept = store.images(table, 8, max_unreadable=0.2).table
    assert "1 of 5 files cannot be read" in caplog.text
    assert missing in caplog.text
    np.testing.assert_array_equal(kept.labels, [0, 0, 1, 1])


def test_blanks_around_labels_groups_and_splits_make_no_new_ones(load):
    content = text((" a", "a ", "b", "b"), ("train", " train", "test", "test "),
                   names=("path", "label", "patient", "fold"))  # fmt: skip
    content = content.replace("q/1.png,cecum", "q/1.png, cecum ")
    table = load(content, group_column="patient", split_column="fold")
    assert table.classes == ("cecum", "polyp")
    assert set(table.groups) == {"a", "b"}
    assert set(table.official) == {"train", "test"}


def test_images_without_a_group_are_told_by_name(load, caplog):
    with caplog.at_level(logging.WARNING):
        load(text(("1", "", "2", "2"), names=("path", "label", "patient")), group_column="patient")
    assert "1 files of csv have no value in column 'patient'" in caplog.text
    assert "p/2.png" in caplog.text


def test_a_root_below_which_no_listed_file_exists_is_told(load, tmp_path):
    (tmp_path / "other").mkdir()
    table = load(text(), root=tmp_path / "other")
    with pytest.raises(UserError, match=r"none of 4 listed files exists, such as .*other/q/1\.png"):
        DecodedStore(tmp_path / "store").images(table, 16, progress=False)
