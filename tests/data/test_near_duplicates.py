"""Pairs and groups are compared with double loops over ImageHash's own distance."""

import csv
import logging
from collections import defaultdict
from itertools import combinations

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_hpo.data import near_duplicates as module
from tl_hpo.data.fingerprints import FingerprintStore
from tl_hpo.data.near_duplicates import (
    MAX_DISTANCE,
    MIN_CONTRASTS,
    near_duplicate_groups,
    near_duplicate_pairs,
)
from tl_hpo.data.table import ImageTable

few = settings(max_examples=60, deadline=None)


def scattered(rng, n, scenes):
    """Return hashes bool [n, 256] of images that each show one of some scenes, more or less."""
    bits = (rng.random((scenes, 256)) < 0.5)[rng.integers(0, scenes, n)]
    return bits ^ (rng.random((n, 256)) < rng.uniform(0, 0.2, (n, 1)))


def brute_force(bits, max_distance):
    hashes = [imagehash.ImageHash(row) for row in bits]
    distances = {(i, j): hashes[i] - hashes[j] for i, j in combinations(range(len(bits)), 2)}
    return {pair: distance for pair, distance in distances.items() if distance <= max_distance}


def united(n, pairs):
    """Return the sets of a union-find over ``pairs``."""
    parent = list(range(n))

    def find(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in pairs:
        parent[find(i)] = find(j)
    sets = defaultdict(set)
    for i in range(n):
        sets[find(i)].add(i)
    return sorted(map(sorted, sets.values()))


def members(groups):
    sets = defaultdict(list)
    for index, name in enumerate(groups):
        sets[name].append(index)
    return sorted(sets.values())


def told(pairs, distances):
    return dict(zip(map(tuple, pairs.tolist()), distances.tolist(), strict=True))


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 80), st.integers(1, 200))
def test_pairs_are_those_of_a_double_loop(fingerprints_of, seed, n, max_distance, block):
    bits = scattered(np.random.default_rng(seed), n, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        pairs, distances = near_duplicate_pairs(fingerprints_of(bits), max_distance)
    assert told(pairs, distances) == brute_force(bits, max_distance)
    assert distances.tolist() == sorted(distances.tolist())


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 200))
def test_groups_are_those_of_a_union_find(fingerprints_of, seed, n, block):
    bits = scattered(np.random.default_rng(seed), n, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        groups = near_duplicate_groups(fingerprints_of(bits))
    assert members(groups) == united(n, brute_force(bits, MAX_DISTANCE))


def test_groups_are_numbered_in_order_of_their_first_members(fingerprints_of):
    one, other = np.zeros(256, bool), np.ones(256, bool)
    half = np.arange(256) < 128
    groups = near_duplicate_groups(fingerprints_of([other, one, half, one, other]))
    assert groups == ("near-0000", "near-0001", "near-0002", "near-0001", "near-0000")


def test_blank_images_are_near_duplicates_of_the_same_bytes_alone(fingerprints_of):
    content = ["black", "black again", "black", "white"]
    blank = fingerprints_of(
        np.zeros((4, 256)), content=content, contrasts=[0, 5, 0, MIN_CONTRASTS - 1]
    )
    assert told(*near_duplicate_pairs(blank)) == {(0, 2): 0}
    assert members(near_duplicate_groups(blank)) == [[0, 2], [1], [3]]


def test_files_that_are_no_images_have_no_near_duplicates(fingerprints_of):
    found = fingerprints_of(np.zeros((3, 256)), content=[""] * 3, readable=[False, False, True])
    assert not len(near_duplicate_pairs(found)[0])
    assert len(set(near_duplicate_groups(found))) == 3


def test_no_images(fingerprints_of):
    nothing = fingerprints_of(np.zeros((0, 256)))
    assert near_duplicate_pairs(nothing)[0].shape == (0, 2)
    assert near_duplicate_groups(nothing) == ()


@pytest.mark.parametrize("block", [8, 1000])
def test_more_pairs_than_there_is_room_for_are_the_nearest(
    fingerprints_of, monkeypatch, caplog, block
):
    monkeypatch.setattr(module, "MAX_PAIRS", 20)
    monkeypatch.setattr(module, "BLOCK", block)
    bits = scattered(np.random.default_rng(3), 24, 1)
    expected = sorted((d, pair) for pair, d in brute_force(bits, 100).items())
    with caplog.at_level(logging.WARNING):
        pairs, distances = near_duplicate_pairs(fingerprints_of(bits), 100)
    assert [(d, tuple(p)) for d, p in zip(distances.tolist(), pairs.tolist(), strict=True)] == (
        expected[:20]
    )
    assert "only the nearest" in caplog.text
    assert len(set(near_duplicate_groups(fingerprints_of(bits), 100))) == 1


def test_a_picture_saved_again_is_found_and_another_is_not(tmp_path):
    rng = np.random.default_rng(0)
    one, other = (
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((400, 300))
        for _ in range(2)
    )
    one.save(tmp_path / "0.png")
    one.save(tmp_path / "1.jpg", quality=40)
    one.resize((97, 73)).point(lambda value: 0.8 * value + 20).save(tmp_path / "2.jpg")
    other.save(tmp_path / "3.png")
    paths = tuple(sorted(tmp_path.iterdir()))
    table = ImageTable("copies", tmp_path, ("any",), paths, np.zeros(4, int))
    groups = near_duplicate_groups(FingerprintStore(tmp_path / "store").fingerprints(table))
    assert members(groups) == [[0, 1, 2], [3]]


@pytest.mark.shared
def test_known_groups_of_real_images_are_found(shared_root, tmp_path, record_property):
    root = shared_root / "data" / "hyperkvasir_lower_gi"
    with (root / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = np.array([row["near_duplicate_group"] for row in rows])
    paths = tuple(root / row["path"] for row in rows)
    table = ImageTable("real", root, ("any",), paths, np.zeros(len(rows), int))
    fingerprints = FingerprintStore(tmp_path).fingerprints(table, progress=False)
    pairs, _ = near_duplicate_pairs(fingerprints)
    groups = np.array(near_duplicate_groups(fingerprints))
    several = [name for name in set(known) if (known == name).sum() > 1]
    within = known[pairs[:, 0]] == known[pairs[:, 1]]
    found = set(known[pairs[within, 0]])
    joined = [name for name in several if len(set(groups[known == name])) == 1]
    mixed = sum(len(set(known[groups == name])) > 1 for name in set(groups))
    for name, value in {
        "known groups": len(several),
        "found": len(found),
        "joined as a whole": len(joined),
        "pairs": len(pairs),
        "pairs within a known group": int(within.sum()),
        "groups over several known ones": mixed,
        "largest group": max(map(len, members(groups))),
    }.items():
        record_property(name, int(value))
        print(f"{name}: {value}")
    assert len(joined) >= 0.9 * len(several)
    assert within.mean() > 0.85
