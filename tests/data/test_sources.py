import logging
import os
import sys

import pytest

from tl_hpo.data.sources import KVASIR_CLASSES, NERTHUS_CLASSES, PUBLISHED, load_table
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


def test_unknown_kind_suggests_the_nearest(dataset):
    with pytest.raises(UserError, match=r"dataset.kind.*'foldr'.*folder"):
        load_table(dataset("folder", kind="foldr"))


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


def test_one_class_is_refused(plant, dataset):
    with pytest.raises(UserError, match="at least 2 classes"):
        load_table(dataset("folder", root=plant(*two("a"))))


def test_class_with_one_image_is_refused(plant, dataset):
    with pytest.raises(UserError, match="'b' has 1"):
        load_table(dataset("folder", root=plant(*two("a"), "b/x.png")))


def test_class_folder_without_images_is_refused(plant, dataset):
    root = plant(*two("a", "b"))
    (root / "c").mkdir()
    with pytest.raises(UserError, match="'c' has 0"):
        load_table(dataset("folder", root=root))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_file_name_that_is_no_text_is_refused(plant, dataset):
    root = plant(*two("a", "b"))
    (root / "a" / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(UserError, match="valid UTF-8"):
        load_table(dataset("folder", root=root))


@pytest.mark.parametrize("above", ["", "kvasir-dataset-v2/", "some/folder/"])
def test_kvasir_is_found_at_the_root_or_deeper(plant, dataset, above):
    root = plant(*two(*(above + name for name in KVASIR_CLASSES)))
    table = load_table(dataset("kvasir", root=root))
    assert table.classes == KVASIR_CLASSES
    assert table.root == root / above
    assert set(table.counts().values()) == {2}


def test_kvasir_names_the_missing_classes(plant, dataset):
    root = plant(*two(*("deep/" + name for name in KVASIR_CLASSES[:6])))
    with pytest.raises(UserError, match="deep without polyps, ulcerative-colitis; unpack"):
        load_table(dataset("kvasir", root=root))


@pytest.mark.parametrize("name", ["kvasir", "nerthus"])
def test_absent_published_dataset_tells_where_it_is(dataset, tmp_path, name):
    with pytest.raises(UserError) as caught:
        load_table(dataset(name, root=tmp_path / "absent"))
    assert PUBLISHED[name] in str(caught.value)
    assert "\n" not in str(caught.value)


def nerthus(above: str = "") -> list[str]:
    name = f"{above}{{0}}/bowel_{{1}}_score_{{0}}-1_0000000{{2}}.jpg"
    return [name.format(score, 10 + score, i) for score in range(4) for i in range(2)]


@pytest.mark.parametrize("above", ["", "nerthus-dataset-frames/", "nerthus-dataset-frames/x/"])
def test_nerthus_takes_class_and_video_from_the_file_name(plant, dataset, above):
    table = load_table(dataset("nerthus", root=plant(*nerthus(above))))
    assert table.classes == NERTHUS_CLASSES
    assert table.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table.groups == ("10", "10", "11", "11", "12", "12", "13", "13")


def test_nerthus_file_of_another_name_takes_its_folder_and_is_told(plant, dataset, caplog):
    root = plant(*nerthus(), "2/frame.jpg")
    with caplog.at_level(logging.WARNING):
        table = load_table(dataset("nerthus", root=root))
    index = [path.name for path in table.paths].index("frame.jpg")
    assert table.labels[index] == 2
    assert table.groups[index] == "unnamed-2"
    assert "1 files of nerthus are not named" in caplog.text
    assert "2/frame.jpg" in caplog.text


def test_nerthus_score_in_the_name_wins_over_the_folder_and_is_told(plant, dataset, caplog):
    root = plant(*nerthus(), "0/bowel_9_score_3-2_00000001.jpg")
    with caplog.at_level(logging.WARNING):
        table = load_table(dataset("nerthus", root=root))
    assert table.counts()["3"] == 3
    assert "another folder than the score" in caplog.text


def test_nerthus_names_the_missing_folders(plant, dataset):
    with pytest.raises(UserError, match="without 3; unpack"):
        load_table(dataset("nerthus", root=plant(*nerthus()[:6])))
