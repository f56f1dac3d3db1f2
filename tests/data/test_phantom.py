from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tl_hpo.data.phantom import COMBINATIONS, PhantomSpec, write_phantom
from tl_hpo.data.sources import load_table
from tl_hpo.data.store import DecodedStore
from tl_hpo.errors import UserError

SMALL = {"images_per_class": 5, "frames_per_video": 2, "size": 32}


def bytes_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.jpg")}


def test_as_many_classes_images_and_videos_as_asked(dataset, tmp_path):
    table = load_table(dataset("phantom", root=tmp_path, classes=3, **SMALL))
    assert table.counts() == {
        "synthetic-normal": 5, "synthetic-polyp": 5, "synthetic-residue": 5,
    }  # fmt: skip
    assert len(set(table.groups)) == 9
    assert table.synthetic
    assert all(path.is_file() for path in table.paths)
    assert "synthetic" in str(table.root)


def test_no_video_is_in_two_classes(dataset, tmp_path):
    table = load_table(dataset("phantom", root=tmp_path, **SMALL))
    pairs = set(zip(table.groups, table.labels.tolist(), strict=True))
    assert len(pairs) == len(set(table.groups))


def test_all_classes_have_distinct_findings():
    assert len({frozenset(found) for found in COMBINATIONS}) == len(COMBINATIONS) == 16


def test_same_parameters_give_the_same_bytes(tmp_path):
    spec = PhantomSpec(4, **SMALL, seed=3, difficulty=0.5)
    write_phantom(tmp_path / "one", spec)
    write_phantom(tmp_path / "two", spec)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert len(set(bytes_of(tmp_path / "one").values())) == 20


@pytest.mark.parametrize("changed", [{"seed": 1}, {"difficulty": 0.9}, {"size": 40}])
def test_other_parameters_give_another_folder(dataset, tmp_path, changed):
    plain = load_table(dataset("phantom", root=tmp_path, **SMALL))
    other = load_table(dataset("phantom", root=tmp_path, **(SMALL | changed)))
    assert plain.root != other.root
    assert set(bytes_of(plain.root).values()).isdisjoint(bytes_of(other.root).values())


def test_images_are_made_once(dataset, tmp_path):
    config = dataset("phantom", root=tmp_path, **SMALL)
    before = [path.stat().st_mtime_ns for path in load_table(config).paths]
    assert [path.stat().st_mtime_ns for path in load_table(config).paths] == before
    assert [path.name for path in tmp_path.iterdir()] == [load_table(config).root.name]


def test_interrupted_making_leaves_nothing(dataset, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tl_hpo.data.phantom.render_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_table(dataset("phantom", root=tmp_path, **SMALL))
    assert list(tmp_path.iterdir()) == []


def test_frames_of_a_video_resemble_each_other(dataset, tmp_path):
    config = dataset("phantom", root=tmp_path, images_per_class=8, frames_per_video=4, size=32)
    decoded = DecodedStore(tmp_path / "store").images(load_table(config), 16)
    step = [np.abs(a.astype(float) - b).mean() for a, b in pairwise(decoded.pixels)]
    same = [a == b for a, b in pairwise(decoded.table.groups)]
    assert np.mean(step, where=same) < 0.6 * np.mean(step, where=np.invert(same))


def test_every_image_carries_the_same_mark(dataset, tmp_path):
    table = load_table(dataset("phantom", root=tmp_path, **(SMALL | {"size": 96})))
    images = DecodedStore(tmp_path / "store").images(table, 96).pixels
    corner = images[:, 90:94, 2:46].astype(float).mean(axis=(3,))
    assert corner.std(axis=0).mean() < 12
    assert corner.mean(axis=0).max() > 120


def accuracy(features: np.ndarray, table) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=1000))
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    scores = cross_val_score(model, features, table.labels, groups=table.groups, cv=folds)
    return float(scores.mean())


def test_mean_colour_does_not_tell_the_classes_but_more_tells_more(dataset, tmp_path):
    config = dataset("phantom", root=tmp_path, images_per_class=80, frames_per_video=2, size=48)
    decoded = DecodedStore(tmp_path / "store").images(load_table(config), 48)
    table, images = decoded.table, decoded.pixels
    codes = (images // 32).astype(int) @ [64, 8, 1]
    histograms = [np.bincount(code.ravel(), minlength=512) for code in codes]
    colour = accuracy(images.mean(axis=(1, 2)), table)
    assert 0.25 < colour < 0.7
    assert accuracy(np.sqrt(histograms), table) > colour + 0.1


@pytest.mark.parametrize(
    ("key", "value", "range_"),
    [
        ("classes", 1, "2 to 16"),
        ("classes", 17, "2 to 16"),
        ("classes", 2.5, "2 to 16"),
        ("images_per_class", 1, "2 to"),
        ("frames_per_video", 0, "1 to"),
        ("size", 8, "16 to"),
        ("seed", -1, "0 to"),
        ("difficulty", 1.5, "0 to 1"),
        ("difficulty", float("nan"), "0 to 1"),
        ("difficulty", "hard", "0 to 1"),
    ],
)
def test_parameter_out_of_range_is_refused(dataset, tmp_path, key, value, range_):
    with pytest.raises(UserError, match=rf"dataset\.{key} must be .* from {range_}"):
        load_table(dataset("phantom", root=tmp_path, **{key: value}))


def test_root_that_cannot_be_written_is_refused(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can be written"):
        load_table(dataset("phantom", root=tmp_path / "file", **SMALL))


def test_images_of_another_kind_are_not_mixed_with_synthetic_ones(plant, dataset):
    root = plant("polyp/1.png", "normal/1.png")
    with pytest.raises(UserError, match=r"folder of its own.*say dataset=folder dataset.root="):
        load_table(dataset("phantom", root=root, **SMALL))
    assert sorted(path.name for path in root.iterdir()) == ["normal", "polyp"]
