"""Test images that earlier experiments trained or validated on."""

import logging
from dataclasses import replace

import pytest
from optuna.storages import InMemoryStorage
from simulated import Layered

from tl_hpo.errors import UserError
from tl_hpo.files import write_csv, write_json, write_text
from tl_hpo.search.earlier import configurations
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.known_images import KnownImages, known_images

SIDES = {"a/0.png": "train", "a/1.png": "validation", "a/2.png": "test", "b/0.png": "test"}


@pytest.fixture
def run_folder(tmp_path):
    def make(name, sides, root="images", pixels=None):
        rows = [
            {"path": path, "label": path[0], "side": side, "group": ""}
            for path, side in sides.items()
        ]
        folder = tmp_path / name
        write_csv(folder / "split.csv", ("path", "label", "side", "group"), rows)
        about = {"dataset_root": str(tmp_path / root), "pixels": pixels}
        write_json(folder / "experiment.json", about)
        return folder

    return make


OTHER = {"a/0.png": "test", "a/1.png": "test", "a/2.png": "train", "b/0.png": "validation"}


@pytest.mark.parametrize(
    ("there", "known"),
    [
        (SIDES, 0),
        (OTHER, 2),
        (SIDES | {"a/2.png": "validation"}, 1),
        (SIDES | {"c/0.png": "train"}, 0),
        ({"a/0.png": "test", "a/1.png": "train"}, 0),
    ],
)
def test_images_of_other_sides_are_counted(run_folder, there, known):
    here, earlier = run_folder("here", SIDES), run_folder("there", there)
    found = known_images(here, [earlier])
    assert (found.test_images, found.known_test_images) == (2, known)
    assert bool(found.warning()) == bool(known)


def test_an_image_that_several_knew_counts_once(run_folder):
    here = run_folder("here", SIDES)
    one, other = run_folder("one", OTHER), run_folder("other", SIDES | {"b/0.png": "train"})
    found = known_images(here, [one, other, here])
    assert found.known_test_images == 2
    for word in ("2 of 2 test images", str(one), str(other), "split=file"):
        assert word in found.warning()
    assert "\n" not in found.warning()


def test_the_same_name_elsewhere_is_another_image(run_folder):
    here, there = run_folder("here", SIDES), run_folder("there", OTHER, root="others")
    assert known_images(here, [there]).known_test_images == 0


def test_a_dataset_that_has_moved_has_the_same_images(run_folder):
    here = run_folder("here", SIDES, pixels="12ab")
    there = run_folder("there", OTHER, root="others", pixels="12ab")
    assert known_images(here, [there]).known_test_images == 2


def test_a_root_within_the_other_is_seen(run_folder):
    here = run_folder("here", {"0.png": "test"}, root="images/a")
    assert known_images(here, [run_folder("there", SIDES)]).known_test_images == 1


def test_a_folder_without_a_split_tells_nothing(run_folder, tmp_path):
    found = known_images(run_folder("here", SIDES), [tmp_path / "none"])
    assert (found.test_images, found.known_test_images) == (2, 0)
    assert known_images(tmp_path / "none", [run_folder("there", OTHER)]).test_images == 0


@pytest.mark.parametrize("file", ["split.csv", "experiment.json"])
def test_a_broken_file_is_told_in_one_line(run_folder, file):
    there = run_folder("there", OTHER)
    write_text(there / file, "nonsense\n1\n")
    with pytest.raises(UserError, match=r"search\.warm_start must name.*cannot be read") as error:
        known_images(run_folder("here", SIDES), [there])
    assert "\n" not in str(error.value)


def test_a_search_warns_at_every_start(past, plan, run_folder, caplog):
    earlier, p = past("joint"), plan("strategy=joint", "search.optimizers=[sgd,adam,nadam]")
    for folder, sides in ((earlier, OTHER), (p.folder, SIDES)):
        written = run_folder(f"of-{folder.name}", sides)
        folder.mkdir(exist_ok=True)
        for name in ("split.csv", "experiment.json"):
            (written / name).rename(folder / name)
    p = replace(p, warm_start=configurations([earlier]), warm_folders=[earlier])
    storage = InMemoryStorage()
    for again in (p, replace(p, warm_folders=[])):  # later it knows from what it has kept
        caplog.clear()
        with caplog.at_level(logging.WARNING, "tl_hpo"):
            Experiment(again, Layered(), storage).run()
        [line] = [each.getMessage() for each in caplog.records if "test images" in each.message]
        assert line == f"Warning: {KnownImages([str(earlier)], 2, 2).warning()}"
