import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tl_hpo.data.audit.checks import audit
from tl_hpo.data.audit.duplicates import Sides, leaked_images
from tl_hpo.data.audit.records import UNTESTED, Leak, as_dict, from_dict
from tl_hpo.data.fingerprints import FingerprintStore
from tl_hpo.data.near_duplicates import near_duplicate_pairs
from tl_hpo.data.sources import load_table
from tl_hpo.data.split import Split
from tl_hpo.data.table import ImageTable


@pytest.fixture
def audited(tmp_path, plant, dataset):
    """Audit files of different noise, the first of which are copied to the names given."""

    def run(split, *copies, groups=None):
        root = plant(*(f"{name}/{i}.png" for name in "ab" for i in range(4)))
        rng = np.random.default_rng(0)
        for path in sorted(root.rglob("*.png")):
            small = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(small).resize((64, 64)).save(path)
        for source, target in copies:
            shutil.copyfile(root / source, root / target)
        table = load_table(dataset("folder", root=str(root)))
        table = replace(table, groups=groups)
        prints = FingerprintStore(tmp_path / "store").fingerprints(table)
        return audit(table, split, prints)

    return run


def test_nothing_to_tell(audited, split_of):
    found = audited(split_of("rrrvrrrv"))
    assert (found.images, found.unreadable, found.classes) == (8, 0, {"a": 4, "b": 4})
    assert found.sides == {"train": 6, "validation": 2, "test": 0}
    assert (found.exact.sets, found.near.sets, found.own, found.pairs) == (0, 0, None, ())


def test_same_file_under_two_classes_is_named_and_counted(audited, split_of):
    found = audited(split_of("rrrvrrrvr"), ("a/0.png", "b/copy.png"))
    assert (found.exact.sets, found.exact.across_classes, found.exact.crossing) == (1, 1, 0)
    [members] = found.exact.conflicts
    assert [(m.path, m.label) for m in members] == [("a/0.png", "a"), ("b/copy.png", "b")]
    [pair] = found.pairs
    assert pair.exact
    assert (pair.first, pair.second) == members


def test_copies_across_the_split_leak(audited, split_of):
    # a: 0 1 2 3 copy; b: 0 1 2 3
    found = audited(split_of("rrrrvrrvt"), ("a/0.png", "a/copy.png"))
    for kind in (found.exact, found.near):
        assert (kind.sets, kind.images, kind.crossing) == (1, 2, 1)
        assert kind.leaks == {"validation": Leak(2, 1), "test": Leak(1, 0)}


def test_own_groups_are_told(audited, split_of):
    found = audited(split_of("rrrvrrrv"), groups=tuple("xxyyzzww"))
    assert (found.own.groups, found.own.crossing) == (4, 2)


def test_files_that_are_no_images_are_counted_and_no_duplicates(tmp_path, plant, dataset, split_of):
    root = plant("a/0.png", "a/1.png", "b/0.png", "b/1.png")
    (root / "a" / "0.png").write_bytes(b"")
    (root / "b" / "0.png").write_bytes(b"")
    table = load_table(dataset("folder", root=str(root)))
    prints = FingerprintStore(tmp_path / "store").fingerprints(table)
    found = audit(table, split_of("rvrv"), prints)
    assert found.unreadable == 2
    assert found.exact.sets == 0
    assert {each.verdict for each in found.shortcuts} == {UNTESTED}


def test_survives_json(audited, split_of):
    for found in (
        audited(split_of("rrrrvrrvt"), ("a/0.png", "b/copy.png"), groups=tuple("xxyyzzwwv")),
        audited(split_of("rrrrvrrvt")),
    ):
        assert from_dict(json.loads(json.dumps(as_dict(found)))) == found


@pytest.mark.shared
def test_known_groups_of_real_images_that_cross_on_purpose_are_found(
    shared_root, tmp_path, record_property
):
    root = shared_root / "data" / "hyperkvasir_lower_gi"
    with (root / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = np.array([row["near_duplicate_group"] for row in rows])
    classes = sorted({row["class"] for row in rows})
    labels = np.array([classes.index(row["class"]) for row in rows])
    paths = tuple(root / row["path"] for row in rows)
    table = ImageTable("real", root, tuple(classes), paths, labels, tuple(known))
    prints = FingerprintStore(tmp_path).fingerprints(table, progress=False)
    pairs, _ = near_duplicate_pairs(prints)
    several = [name for name in sorted(set(known)) if (known == name).sum() > 1]
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(5):  # one image of every group is judged on, the others are trained on
        chosen = [rng.choice(np.flatnonzero(known == name)) for name in several]
        single = [i for i in range(len(known)) if known[i] not in several][::2]
        held_out = np.sort(np.array(chosen + single))
        rest = np.setdiff1d(np.arange(len(known)), held_out)
        split = Split(rest, held_out, np.empty(0, int))
        leaked = leaked_images(Sides(table, split), pairs)
        found, false = leaked[chosen].sum(), leaked[single].sum()
        shares.append(float(found / len(several)))
        print(f"found {found} of {len(several)}, others told {false} of {len(single)}")
    record_property("found", shares)
    told = audit(table, split, prints)
    assert told.own.crossing == len(several)
    assert told.near.leaks["validation"].leaked == found + false
    assert min(shares) >= 0.9
