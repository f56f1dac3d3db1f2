import logging
from pathlib import Path

import pytest

from tl_hpo.data.published import OFFICIAL_SPLIT
from tl_hpo.data.sources import load_table
from tl_hpo.errors import UserError

BASE = "labeled-images"
LOWER, UPPER = f"{BASE}/lower-gi-tract", f"{BASE}/upper-gi-tract"
CLASSES = {
    "impacted-stool": f"{LOWER}/quality-of-mucosal-views/impacted-stool",
    "polyps": f"{LOWER}/pathological-findings/polyps",
    "z-line": f"{UPPER}/anatomical-landmarks/z-line",
}
NAMES = [f"{folder}/{class_}-{i}.jpg" for class_, folder in CLASSES.items() for i in range(2)]


def split(*rows: str) -> str:
    return "\n".join(["file-name;class-name;split-index", *rows]) + "\n"


ROWS = [f"{class_}-{i}.jpg;{class_};{i}" for class_ in CLASSES for i in range(2)]


@pytest.fixture
def load(plant, dataset):
    """Load the planted images with a split file of these rows under the root."""

    def run(*rows: str, place: str = OFFICIAL_SPLIT.file, **settings):
        root = plant(*NAMES)
        if rows:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_text(split(*rows))
        return load_table(dataset("hyperkvasir", root=root, **settings))

    return run


def test_every_folder_that_holds_images_is_a_class(load):
    table = load()
    assert table.classes == tuple(CLASSES)
    assert table.counts() == dict.fromkeys(CLASSES, 2)
    assert table.relative(0) == NAMES[0].removeprefix(f"{BASE}/")
    assert table.official is None


@pytest.mark.parametrize("above", ["", "a/", "a/b/"])
def test_other_files_and_the_unlabelled_images_are_left_out(plant, dataset, above):
    root = plant(*(above + name for name in NAMES), "unlabeled-images/u.jpg")
    (root / above / BASE / "image-labels.csv").write_text("x")
    (root / above / CLASSES["polyps"] / "notes.txt").write_text("x")
    plant(f"{above}{BASE}/loose.jpg")
    assert load_table(dataset("hyperkvasir", root=root)).counts() == dict.fromkeys(CLASSES, 2)


def test_without_a_folder_of_that_name_the_root_counts(plant, dataset):
    root = plant("upper/x/a.jpg", "upper/x/b.JPG.png", "lower/y/c.jpg", "lower/y/d.PNG")
    assert load_table(dataset("hyperkvasir", root=root)).counts() == {"x": 2, "y": 2}


def test_fewer_classes_than_published_are_told(load, caplog):
    with caplog.at_level(logging.WARNING):
        load()
    assert "has 23 classes, but" in caplog.text


def test_no_folder_of_images_is_refused(plant, dataset):
    with pytest.raises(UserError, match=r"folders of images below labeled-images.*unpack"):
        load_table(dataset("hyperkvasir", root=plant("loose.jpg")))


@pytest.mark.parametrize(
    "place",
    [
        "2_fold_split.csv",
        "official_splits/2_fold_split.csv",
        "labeled-images/2_fold_split.csv",
    ],
)
def test_the_official_split_is_found_under_the_root(load, caplog, place):
    assert load(*ROWS, place=place).official == ("0", "1") * 3
    assert "official split" not in caplog.text


def test_the_official_split_may_lie_elsewhere(load, tmp_path):
    (tmp_path / "other.csv").write_text("\ufeff" + split(*ROWS), encoding="utf-8")
    assert load(official_split=tmp_path / "other.csv").official == ("0", "1") * 3


def test_images_and_rows_without_a_counterpart_are_told(load, caplog):
    with caplog.at_level(logging.WARNING):
        table = load(*ROWS[1:], "gone.jpg;polyps;1", "polyps-0.jpg;z-line;1")
    assert table.official == ("", "1", "0", "1", "0", "1")
    assert "1 files of hyperkvasir are not in the official split" in caplog.text
    assert "impacted-stool-0.jpg" in caplog.text
    assert "2 rows of" in caplog.text
    assert "polyps/gone.jpg, z-line/polyps-0.jpg" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "without file-name, class-name, split-index"),
        ("file-name,class-name,split-index\na,b,0\n", "without file-name"),
        (split("a.jpg;polyps;0", "a.jpg;polyps;1"), "polyps/a.jpg on both 0 and 1"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_file_that_is_no_split_is_refused(load, tmp_path, content, words):
    path = tmp_path / "split.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=words) as caught:
        load(official_split=path)
    assert OFFICIAL_SPLIT.url in str(caught.value)


def test_a_split_that_does_not_exist_is_refused(load):
    with pytest.raises(UserError, match=r"official_split must be a file, got .*nowhere.csv"):
        load(official_split=Path("nowhere.csv"))
