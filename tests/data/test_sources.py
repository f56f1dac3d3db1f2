import pytest

from tl_hpo.config import group_options
from tl_hpo.data.layouts import LAYOUTS
from tl_hpo.data.sources import load_table
from tl_hpo.errors import UserError


def two(*folders: str) -> list[str]:
    return [f"{folder}/{name}.png" for folder in folders for name in ("x", "y")]


def test_unknown_kind_suggests_the_nearest(dataset):
    with pytest.raises(UserError, match=r"dataset.kind.*'foldr'.*folder"):
        load_table(dataset("folder", kind="foldr"))


def test_every_layout_has_a_configuration_of_its_name(dataset):
    assert [dataset(name).kind for name in group_options("dataset")] == sorted(LAYOUTS)


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
