import pytest

from tl_hpo.data.layouts.kvasir import CLASSES
from tl_hpo.data.published import KVASIR
from tl_hpo.data.sources import load_table
from tl_hpo.errors import UserError

V1, V2 = "kvasir-dataset", "kvasir-dataset-v2"


def images(above: str = "") -> list[str]:
    return [f"{above}{class_}/{name}.png" for class_ in CLASSES for name in ("x", "y")]


@pytest.mark.parametrize("above", ["", "kvasir-dataset-v2/", "some/folder/"])
def test_it_is_found_at_the_root_or_deeper(plant, dataset, above):
    root = plant(*images(above))
    table = load_table(dataset("kvasir", root=root))
    assert table.classes == CLASSES
    assert table.root == root / above
    assert set(table.counts().values()) == {2}


def test_missing_classes_are_named(plant, dataset):
    root = plant(*images("deep/")[:12])
    with pytest.raises(UserError, match="deep without polyps, ulcerative-colitis; unpack"):
        load_table(dataset("kvasir", root=root))


@pytest.mark.parametrize("version", [1, 2])
def test_where_it_is_absent_and_must_not_be_fetched_its_address_is_told(dataset, tmp_path, version):
    with pytest.raises(UserError) as caught:
        load_table(dataset("kvasir", root=tmp_path / "x", download=False, version=version))
    assert KVASIR[str(version)].url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("version", "folder"), [(1, V1), (2, V2), ("2", V2)])
def test_of_two_versions_the_one_asked_for_is_read(plant, dataset, version, folder):
    plant(*images(f"{V1}/"))
    root = plant(*images(f"deeper/{V2}/"))
    table = load_table(dataset("kvasir", root=root, version=version))
    assert table.root.name == folder


def test_another_version_than_asked_for_is_refused(plant, dataset):
    root = plant(*images(f"{V1}/"))
    with pytest.raises(UserError, match=r"got 2 but .*kvasir-dataset holds .*dataset.version=1"):
        load_table(dataset("kvasir", root=root))


def test_a_root_that_the_user_points_at_is_read_whatever_its_name(plant, dataset):
    root = plant(*images(f"{V1}/")) / V1
    assert load_table(dataset("kvasir", root=root)).root == root


def test_unknown_version_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match=r"dataset.version must be .*'3'.*1, 2"):
        load_table(dataset("kvasir", root=tmp_path, version=3))
