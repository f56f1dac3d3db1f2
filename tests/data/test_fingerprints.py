"""Fingerprints are compared with hashlib, ImageHash and Pillow, file by file."""

import hashlib
import logging
import os
import shutil
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from tl_hpo.data import fingerprints as module
from tl_hpo.data import images as images_module
from tl_hpo.data.appearance import HASH_SIDE, pack
from tl_hpo.data.fingerprints import FingerprintStore
from tl_hpo.data.table import ImageTable

N = 5


@pytest.fixture
def table(plant):
    root = plant(*(f"{'ab'[i % 2]}/{i}.png" for i in range(N)))
    return table_of(root)


@pytest.fixture
def store(tmp_path):
    return FingerprintStore(tmp_path / "store")


@pytest.fixture
def entry(store, table):
    """Return the path of the one entry, made by now."""
    store.fingerprints(table)
    [path] = store.folder.glob("*.npz")
    return path


@pytest.fixture
def measured(monkeypatch):
    """Return the list of images that are measured from now on."""
    seen = []
    measure = module._measure

    def record(entry, paths, index):
        seen.append(paths[index])
        measure(entry, paths, index)

    monkeypatch.setattr(module, "_measure", record)
    return seen


def table_of(root: Path) -> ImageTable:
    paths = tuple(sorted(path for path in root.rglob("*") if path.is_file()))
    labels = np.array(["ab".index(path.parent.name) for path in paths])
    return ImageTable("some", root, ("a", "b"), paths, labels)


def assert_same(one, other):
    assert one.content == other.content
    for name in module._ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_content_is_blake2b_of_the_bytes_of_the_file(store, table):
    expected = [hashlib.blake2b(p.read_bytes(), digest_size=16).hexdigest() for p in table.paths]
    assert list(store.fingerprints(table).content) == expected


def test_hash_is_the_dhash_of_imagehash(store, table):
    found = store.fingerprints(table)
    for path, words in zip(table.paths, found.hashes, strict=True):
        bits = imagehash.dhash(Image.open(path), HASH_SIDE).hash
        np.testing.assert_array_equal(words, pack(bits.reshape(1, -1))[0])


def test_shapes_and_ranges(store, table):
    found = store.fingerprints(table)
    assert len(found) == N
    assert found.readable.all()
    assert found.sizes.tolist() == [[32, 32]] * N
    assert (found.hashes.dtype, found.hashes.shape) == (np.uint64, (N, 4))
    for features in (found.border, found.overlay):
        assert features.dtype == np.float32
        assert features.min() >= 0
        assert features.max() <= 1
    assert (found.contrasts > 0).all()


@pytest.mark.parametrize(("orientation", "size"), [(1, [20, 40]), (6, [40, 20])])
def test_size_is_that_of_the_upright_image(store, tmp_path, orientation, size):
    (tmp_path / "images" / "a").mkdir(parents=True)
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "images" / "a" / "0.jpg", exif=exif)
    assert store.fingerprints(table_of(tmp_path / "images")).sizes.tolist() == [size]


def test_second_call_reads_no_image(store, table, measured):
    first = store.fingerprints(table)
    assert len(measured) == N
    assert_same(FingerprintStore(store.folder.parent).fingerprints(table), first)
    assert len(measured) == N


def test_changed_file_alone_is_read_again(store, table, measured):
    before = store.fingerprints(table)
    shutil.copyfile(table.paths[0], table.paths[3])
    os.utime(table.paths[3], ns=(1, 1))
    del measured[:]
    after = store.fingerprints(table)
    assert measured == [table.paths[3]]
    assert after.content[3] == before.content[0] != before.content[3]
    assert_same(after.subset([0, 1, 2, 4]), before.subset([0, 1, 2, 4]))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_damaged_entry_is_made_again(store, table, entry, measured, caplog, damage):
    data = bytearray(entry.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[data.index(b"hashes.npy") + 200] ^= 1  # beyond the header of the array
    elif damage == "empty":
        data.clear()
    entry.write_bytes(data)
    if damage == "other":
        with entry.open("wb") as file:
            np.savez(file, **(module._empty(N) | {"sizes": np.zeros((N, 3))}))
    with caplog.at_level(logging.WARNING):
        found = store.fingerprints(table)
    assert "damaged" in caplog.text
    assert sorted(measured) == sorted(table.paths)
    del measured[:]
    assert_same(store.fingerprints(table), found)
    assert measured == []


def test_files_that_are_no_images_have_zeros(store, table):
    table.paths[1].write_bytes(b"")
    table.paths[2].write_text("no image")
    table.paths[3].unlink()
    found = store.fingerprints(table)
    assert found.readable.tolist() == [True, False, False, False, True]
    assert found.content[1] == hashlib.blake2b(b"", digest_size=16).hexdigest()
    assert found.content[3] == ""
    blank = found.subset([1, 2, 3])
    assert not any(getattr(blank, name).any() for name in module._ARRAYS)


def test_what_a_killed_process_left_is_removed(store, table, entry):
    leftover = entry.with_name(f".{entry.name}.1.tmp")
    leftover.write_text("half")
    entry.unlink()
    store.fingerprints(table)
    assert not leftover.exists()


def test_unreadable_file_is_tried_again_and_found_once_it_can_be_read(store, table, monkeypatch):
    opened = Image.open

    def refuse(file):
        raise PermissionError

    monkeypatch.setattr(module.Image, "open", refuse)
    assert not store.fingerprints(table).readable.any()
    monkeypatch.setattr(module.Image, "open", opened)
    assert store.fingerprints(table).readable.all()


@pytest.mark.parametrize("obstacle", ["file", "full"])
def test_store_that_cannot_be_written_costs_only_the_caching(
    tmp_path, table, obstacle, monkeypatch, caplog
):
    monkeypatch.setattr(images_module, "_told", set())
    expected = FingerprintStore(tmp_path / "good").fingerprints(table)
    if obstacle == "file":
        (tmp_path / "bad").write_text("")
    else:
        monkeypatch.setattr(module.np, "savez", _no_room)
    for _ in range(2):
        assert_same(FingerprintStore(tmp_path / "bad").fingerprints(table), expected)
    assert caplog.text.count("store.dir cannot keep the fingerprints") == 1
    assert obstacle == "file" or list((tmp_path / "bad" / "fingerprints").glob(".*.tmp")) == []


def _no_room(*_, **__):
    raise OSError(28, "No space left on device")


def test_no_image_at_all(store, tmp_path):
    assert len(store.fingerprints(ImageTable("none", tmp_path, (), (), np.empty(0, int)))) == 0
