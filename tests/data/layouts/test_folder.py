import logging
import os
import sys

import pytest

from tl_hpo.data.sources import load_table
from tl_hpo.errors import UserError


def two(*folders: str) -> list[str]:
    return [f"{folder}/{name}.png" for folder in folders for name in ("x", "y")]


def test_folder_takes_one_class_per_folder(plant, dataset):
    table = load_table(dataset("folder", root=plant(*two("cecum", "polyp"))))
    assert table.classes == ("cecum", "polyp")
    assert table.labels.tolist() == [0, 0, 1, 1]
    assert table.relative(2) == "polyp/x.png"
    assert table.groups is None
    assert not table.synthetic


def test_folder_finds_nested_files_and_ignores_hidden_ones(plant, dataset):
    root = plant(*two("a", "b"), "a/deep/er/z.png", "a/.hidden.png", "b/.git/h.png", ".cache/h.png")
    plant("__MACOSX/a/x.png")
    assert load_table(dataset("folder", root=root)).counts() == {"a": 3, "b": 2}


def test_classes_may_be_in_any_script(plant, dataset):
    root = plant(*two("צואה", "полип", "正常", "a b,c"))
    assert load_table(dataset("folder", root=root)).classes == ("a b,c", "полип", "צואה", "正常")


def test_numbers_sort_as_numbers(plant, dataset):
    root = plant(*two("10", "9", "-1", "2.5"))
    assert load_table(dataset("folder", root=root)).classes == ("-1", "2.5", "9", "10")


def test_mixed_names_sort_as_text(plant, dataset):
    root = plant(*two("10", "9", "x"))
    assert load_table(dataset("folder", root=root)).classes == ("10", "9", "x")


def test_relative_root_becomes_absolute(plant, dataset, monkeypatch):
    monkeypatch.chdir(plant(*two("a", "b")).parent)
    table = load_table(dataset("folder", root="images"))
    assert table.root.is_absolute()
    assert table.paths[0].is_file()


def test_root_of_folder_must_be_set(dataset):
    with pytest.raises(UserError, match=r"dataset.root=DIR"):
        load_table(dataset("folder"))


def test_missing_root_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match=r"existing folder, got .*absent"):
        load_table(dataset("folder", root=tmp_path / "absent"))


def test_root_that_is_a_file_is_refused(plant, dataset):
    with pytest.raises(UserError, match=r"existing folder, got .*a file"):
        load_table(dataset("folder", root=plant("x.png") / "x.png"))


def test_empty_root_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="empty folder"):
        load_table(dataset("folder", root=tmp_path))


def test_root_with_loose_files_only_is_refused(plant, dataset):
    with pytest.raises(UserError, match="one folder of images per class"):
        load_table(dataset("folder", root=plant("x.png", "y.png")))


def test_unreadable_root_is_refused(plant, dataset, monkeypatch):
    root = plant(*two("a", "b"))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(UserError, match="can be read"):
        load_table(dataset("folder", root=root))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_file_name_that_is_no_text_is_refused(plant, dataset):
    root = plant(*two("a", "b"))
    (root / "a" / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(UserError, match="valid UTF-8"):
        load_table(dataset("folder", root=root))


def test_images_beside_the_class_folders_are_told_by_name(plant, dataset, caplog):
    root = plant(*two("a", "b"), "loose.png", ".hidden.png")
    (root / "notes.txt").write_text("no image")
    with caplog.at_level(logging.WARNING):
        assert len(load_table(dataset("folder", root=root))) == 4
    assert "1 images of folder lie in no folder of a class and are left out (loose.png)" in (
        caplog.text
    )


def test_notes_among_the_images_of_a_class_are_left_out_by_name(plant, dataset, caplog):
    root = plant(*two("a", "b"))
    for name in ("a/0.json", "a/Thumbs.db", "b/notes.TXT", "b/without_an_ending"):
        (root / name).write_text("no image")
    with caplog.at_level(logging.WARNING):
        table = load_table(dataset("folder", root=root))
    assert table.counts() == {"a": 2, "b": 3}
    told = (
        "Left out of folder as no images by their names, 3 in all: a/0.json, a/Thumbs.db, b/notes"
    )
    assert told in caplog.text
