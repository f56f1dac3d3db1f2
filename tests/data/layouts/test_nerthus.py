import logging

import pytest

from tl_hpo.data.layouts.nerthus import CLASSES
from tl_hpo.data.published import NERTHUS
from tl_hpo.data.sources import load_table
from tl_hpo.errors import UserError


def nerthus(above: str = "") -> list[str]:
    name = f"{above}{{0}}/bowel_{{1}}_score_{{0}}-1_0000000{{2}}.jpg"
    return [name.format(score, 10 + score, i) for score in range(4) for i in range(2)]


@pytest.mark.parametrize("above", ["", "nerthus-dataset-frames/", "nerthus-dataset-frames/x/"])
def test_takes_class_and_video_from_the_file_name(plant, dataset, above):
    table = load_table(dataset("nerthus", root=plant(*nerthus(above))))
    assert table.classes == CLASSES
    assert table.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table.groups == ("10", "10", "11", "11", "12", "12", "13", "13")


def test_file_of_another_name_takes_its_folder_and_is_told(plant, dataset, caplog):
    root = plant(*nerthus(), "2/frame.jpg")
    with caplog.at_level(logging.WARNING):
        table = load_table(dataset("nerthus", root=root))
    index = [path.name for path in table.paths].index("frame.jpg")
    assert table.labels[index] == 2
    assert table.groups[index] == "unnamed-2"
    assert "1 files of nerthus are not named" in caplog.text
    assert "2/frame.jpg" in caplog.text


def test_score_in_the_name_wins_over_the_folder_and_is_told(plant, dataset, caplog):
    root = plant(*nerthus(), "0/bowel_9_score_3-2_00000001.jpg")
    with caplog.at_level(logging.WARNING):
        table = load_table(dataset("nerthus", root=root))
    assert table.counts()["3"] == 3
    assert "another folder than the score" in caplog.text


def test_names_the_missing_folders(plant, dataset):
    with pytest.raises(UserError, match="without 3; unpack"):
        load_table(dataset("nerthus", root=plant(*nerthus()[:6])))


def test_where_it_is_absent_and_must_not_be_fetched_its_address_is_told(dataset, tmp_path):
    with pytest.raises(UserError) as caught:
        load_table(dataset("nerthus", root=tmp_path / "x", download=False))
    assert NERTHUS.url in str(caught.value)
    assert "\n" not in str(caught.value)
