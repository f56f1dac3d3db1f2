"""The store is compared with `decode`, file by file."""

import errno
import logging
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_hpo.data import images as images_module
from tl_hpo.data import store as module
from tl_hpo.data.images import decode
from tl_hpo.data.store import DecodedStore
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError

N = 6


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Forget what this process has opened and told; call it to do so again."""

    def forget():
        monkeypatch.setattr(module, "_opened", type(module._opened)())
        monkeypatch.setattr(images_module, "_told", set())

    forget()
    return forget


def write_images(root: Path, n: int = N) -> ImageTable:
    """Write n images of noise, whose order in the table is not that of their names."""
    root.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (n, 9, 7, 3), dtype=np.uint8)
    paths = tuple(root / f"{(i * 5) % n}.png" for i in range(n))
    for path, pixels in zip(paths, noise, strict=True):
        Image.fromarray(pixels).save(path)
    return ImageTable("noise", root, ("a", "b"), paths, np.arange(n) % 2)


@pytest.fixture
def table(tmp_path):
    return write_images(tmp_path / "images")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    return DecodedStore(folder)


@pytest.fixture
def decodings(monkeypatch):
    """Return the list of files that are decoded from now on."""
    seen = []
    monkeypatch.setattr(
        images_module, "decode", lambda path, shape: seen.append(path) or decode(path, shape)
    )
    return seen


def expected(table, shape=(8, 8)):
    return np.stack([decode(path, shape) for path in table.paths])


def entry(folder: Path) -> Path:
    (found,) = (path for path in (folder / "images").iterdir() if path.is_dir())
    return found


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.suffix != ".lock")


def test_pixels_are_those_of_decode_in_the_order_of_the_table(store, table):
    decoded = store.images(table, (8, 6))
    np.testing.assert_array_equal(decoded.pixels, expected(table, (8, 6)))
    assert decoded.pixels.dtype == np.uint8
    assert decoded.table == table


def test_any_number_of_threads_gives_the_same(tmp_path, table):
    checksums = {
        DecodedStore(tmp_path / str(n)).images(table, 8, workers=n).checksum for n in (1, 5)
    }
    assert len(checksums) == 1


def test_checksum_is_of_the_pixels_alone(tmp_path, store, table):
    copies = write_images(tmp_path / "copies")
    assert store.images(table, 8).checksum == store.images(copies, 8).checksum
    assert store.images(table, 9).checksum != store.images(table, 8).checksum
    assert store.images(table.subset([1, 0, 2, 3]), 8).checksum != (
        store.images(table.subset([0, 1, 2, 3]), 8).checksum
    )


def test_files_are_decoded_once_per_size(store, table, decodings, new_process):
    for size in (8, 9, 8, (8, 8)):
        store.images(table, size)
        new_process()
    assert len(decodings) == 2 * N


def test_two_orders_of_the_same_files_live_side_by_side(store, table, decodings):
    for order in (range(N), range(N)[::-1], range(N)):
        part = table.subset(order)
        np.testing.assert_array_equal(store.images(part, 8).pixels, expected(part))
    assert len(decodings) == 2 * N


def test_relative_folder_is_that_of_the_start(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = DecodedStore(Path("store"))
    monkeypatch.chdir("/")
    store.images(table, 8)
    assert entry(tmp_path / "store").is_dir()


def test_opening_again_in_a_process_reads_nothing(store, table, monkeypatch):
    first = store.images(table, 8)
    monkeypatch.setattr(module, "_load", None)
    monkeypatch.setattr(module, "_read_meta", None)
    again = DecodedStore(store.folder.parent).images(table, 8)
    assert again.pixels is first.pixels


def test_no_more_than_some_entries_stay_open(store, table, monkeypatch):
    monkeypatch.setattr(module, "OPENED", 2)
    first = store.images(table, 5)
    for size in (6, 5, 7):
        store.images(table, size)
    assert [opened.pixels.shape[1] for opened in module._opened.values()] == [5, 7]
    assert store.images(table, 5).pixels is first.pixels


def test_reading_takes_no_lock(store, table, monkeypatch, new_process):
    store.images(table, 8)
    new_process()
    monkeypatch.setattr(module, "waiting_lock", None)
    np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))


def test_torch_takes_the_pixels_without_a_warning_and_writing_stays_private(
    store, table, new_process
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(store.images(table, 8).pixels)
    tensor.zero_()
    new_process()
    np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("change", ["pixels", "time", "removed"])
def test_changed_file_is_noticed_and_the_store_rebuilt(
    store, table, folder, caplog, decodings, new_process, opened, change
):
    before = store.images(table, 8, max_unreadable=0.2)
    was = before.pixels.copy()
    if not opened:
        new_process()
    path = table.paths[2]
    if change == "pixels":
        Image.new("RGB", (9, 7), "red").save(path)
    elif change == "time":
        os.utime(path, ns=(0, 0))
    else:
        path.unlink()
    with caplog.at_level(logging.INFO):
        after = store.images(table, 8, max_unreadable=0.2)
    np.testing.assert_array_equal(after.pixels, expected(after.table))
    assert len(after.table) == N - (change == "removed")
    told = [r for r in caplog.records if "outdated" in r.getMessage()]
    assert [(r.levelno, str(path) in r.getMessage()) for r in told] == [(logging.INFO, True)]
    assert len(decodings) == 2 * N
    assert stored(folder) == sorted(["images", entry(folder).name, "meta.json", "pixels.u8"])
    np.testing.assert_array_equal(before.pixels, was)  # the old one stays mapped


def flip(path: Path, position: float, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    path.write_bytes(data)


def truncate(path: Path, position: float, bit: int) -> None:
    os.truncate(path, int(position * path.stat().st_size))


def append(path: Path, position: float, bit: int) -> None:
    path.write_bytes(path.read_bytes() + bytes([bit]))


def replace(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


@given(
    st.sampled_from(["pixels.u8", "meta.json"]),
    st.sampled_from([flip, truncate, append]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 7),
)
@settings(max_examples=60, deadline=None)
def test_no_damage_reaches_the_pixels(name, damage, position, bit):
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(images_module, "_told", set())
        table = write_images(Path(place) / "images")
        table.paths[1].write_text("no image")
        store = DecodedStore(Path(place) / "store")
        store.images(table, 8, max_unreadable=0.5)
        damage(entry(Path(place) / "store") / name, position, bit)
        module._opened.clear()
        decoded = store.images(table, 8, max_unreadable=0.5)
        assert decoded.table.paths == table.paths[:1] + table.paths[2:]
        np.testing.assert_array_equal(decoded.pixels, expected(decoded.table))


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("pixels.u8", lambda path: flip(path, 0.5, 0), "differs from its checksum"),
        ("pixels.u8", lambda path: truncate(path, 0.5, 0), "must have 1152 bytes, got 576"),
        ("pixels.u8", Path.unlink, "pixels.u8 cannot be read"),
        ("meta.json", Path.unlink, "meta.json cannot be read"),
        ("meta.json", lambda path: path.write_bytes(b"\xff{"), "meta.json cannot be read"),
        ("meta.json", lambda path: path.write_text("[]"), "meta.json cannot be read"),
        ("meta.json", lambda path: path.write_text("{}"), "meta.json cannot be read"),
        ("meta.json", replace(".png", ".jpg"), "differs from its seal"),
        ("meta.json", replace('"format": 1', '"format": 0'), "of format 1, got 0"),
    ],
)
def test_damage_is_told_in_one_warning_and_mended(
    store, table, folder, caplog, new_process, name, damage, reason
):
    store.images(table, 8)
    damage(entry(folder) / name)
    new_process()
    decoded = store.images(table, 8)
    np.testing.assert_array_equal(decoded.pixels, expected(table))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "damaged" in record.getMessage()
    assert reason in record.getMessage()
    new_process()
    store.images(table, 8)
    assert len(caplog.records) == 1


def test_damage_is_noticed_in_the_process_that_wrote(store, table, folder):
    store.images(table, 8)
    pixels = entry(folder) / "pixels.u8"
    flip(pixels, 0.5, 0)
    os.utime(pixels, ns=(0, 0))  # clocks of some file systems are coarse
    np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))


@given(st.sets(st.integers(0, N - 1)))
@settings(max_examples=30, deadline=None)
def test_unreadable_images_are_squeezed_out(broken):
    with tempfile.TemporaryDirectory() as place:
        table = write_images(Path(place) / "images")
        for index in broken:
            table.paths[index].write_text("no image")
        kept = [i for i in range(N) if i not in broken]
        if min(np.bincount(table.labels[kept], minlength=2)) < 2:
            with pytest.raises(UserError):
                DecodedStore(Path(place)).images(table, 8, max_unreadable=1.0)
            return
        decoded = DecodedStore(Path(place)).images(table, 8, max_unreadable=1.0)
        assert decoded.table.paths == tuple(table.paths[i] for i in kept)
        assert decoded.table.labels.tolist() == table.labels[kept].tolist()
        np.testing.assert_array_equal(decoded.pixels, expected(decoded.table))


def test_unreadable_images_are_told_when_the_store_is_opened_again(
    store, table, caplog, new_process
):
    table.paths[1].write_text("no image")
    for _ in range(2):
        decoded = store.images(table, 8, max_unreadable=0.2)
        store.images(table, 8, max_unreadable=0.2)
        assert len(decoded.pixels) == len(decoded.table) == N - 1
        new_process()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert messages[0] == messages[1]
    assert f"1 of {N} files cannot be read" in messages[0]
    assert f"{table.relative(1)} (the first: UnidentifiedImageError" in messages[0]


@pytest.mark.parametrize(("broken", "rule"), [([1], "at most a share"), (range(N), "none of 6")])
def test_too_many_unreadable_images_are_refused_each_time(store, table, new_process, broken, rule):
    for index in broken:
        table.paths[index].write_text("no image")
    for _ in range(2):
        with pytest.raises(UserError, match=rule):
            store.images(table, 8)
        new_process()


@pytest.mark.parametrize("kept", [[], [0, 2, 4]])
def test_table_that_cannot_be_split_is_refused_before_decoding(store, table, decodings, kept):
    with pytest.raises(UserError, match="every class must have at least 2"):
        store.images(table.subset(kept), 8)
    assert not decodings


def test_a_larger_accepted_share_does_not_decode_again(store, table, decodings):
    table.paths[1].write_text("no image")
    with pytest.raises(UserError, match="max_unreadable"):
        store.images(table, 8)
    assert len(store.images(table, 8, max_unreadable=0.2).table) == N - 1
    assert len(decodings) == N


def test_an_image_that_becomes_readable_is_taken(store, table, monkeypatch, caplog, new_process):
    def forbidden(path, shape):
        if path == table.paths[3]:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return decode(path, shape)

    with monkeypatch.context() as patch:
        patch.setattr(images_module, "decode", forbidden)
        assert len(store.images(table, 8, max_unreadable=0.2).table) == N - 1
    new_process()
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))
    assert f"{table.paths[3]} can be read now" in caplog.text


def test_a_file_changed_while_decoding_shows_the_next_time(store, table, monkeypatch):
    def change_then_decode(path, shape):
        if path == table.paths[0]:
            Image.new("RGB", (9, 7), "red").save(path)
            os.utime(path, ns=(0, 0))
        return decode(path, shape)

    with monkeypatch.context() as patch:
        patch.setattr(images_module, "decode", change_then_decode)
        np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))
    Image.new("RGB", (9, 7), "blue").save(table.paths[0])
    np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_names_that_are_not_utf8(store, table, new_process):
    path = Path(os.fsdecode(b"%s/\xff.png" % os.fsencode(table.root)))
    path.write_text("no image")
    odd = ImageTable("odd", table.root, table.classes, (path, *table.paths), np.arange(N + 1) % 2)
    for _ in range(2):
        np.testing.assert_array_equal(
            store.images(odd, 8, max_unreadable=0.2).pixels, expected(table)
        )
        new_process()


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        (errno.ENOSPC, "must have room for the decoded images, 1,152 bytes"),
        (errno.EDQUOT, "must have room"),
        (errno.EROFS, "must be a folder that can be written"),
        (errno.EACCES, "must be a folder that can be written"),
    ],
)
def test_disk_that_is_full_or_read_only_is_told_and_nothing_stays(
    store, table, folder, monkeypatch, code, rule
):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(UserError, match=rule) as told:
        store.images(table, 8)
    assert f"{folder}/images" in str(told.value)
    assert "store.dir=OTHER" in str(told.value)
    assert stored(folder) == ["images"]


def test_folder_that_is_a_file_is_told(table, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"store\.dir must be a folder that can be written"):
        DecodedStore(tmp_path / "file").images(table, 8)


def test_other_failures_are_not_taken_for_mistakes_of_the_user(store, table, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(OSError, match="Input/output"):
        store.images(table, 8)


def test_space_is_reserved_without_posix_fallocate(store, table, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(module, "CHUNK", 1000)
    np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))


def test_interrupted_decoding_leaves_nothing(store, table, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "decode_into", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.images(table, 8)
    assert stored(folder) == ["images"]


# Decodes sys.argv[2:] into the store sys.argv[1] and prints the checksum.
PROCESS = """
import logging, os, signal, sys
from pathlib import Path
import numpy as np
from tl_hpo.data import images
from tl_hpo.data.store import DecodedStore
from tl_hpo.data.table import ImageTable

logging.basicConfig(level=logging.INFO)
decode, seen = images.decode, []

def observed(path, shape):
    seen.append(path)
    observe(len(seen))
    return decode(path, shape)

images.decode = observed
paths = tuple(Path(path) for path in sys.argv[2:])
table = ImageTable("noise", paths[0].parent, ("a", "b"), paths, np.arange(len(paths)) % 2)

def run():
    decoded = DecodedStore(Path(sys.argv[1])).images(table, 8, workers=1)
    print(len(seen), decoded.checksum)
"""
KILLED = f"""{PROCESS}
def observe(k):
    if k == 4:
        os.kill(os.getpid(), signal.SIGKILL)
run()
"""
PAUSED = f"""{PROCESS}
def observe(k):
    if k == 1:
        print("decoding", flush=True)
        sys.stdin.readline()
run()
"""


COUNTED = f"""{PROCESS}
def observe(k):
    pass
run()
"""


@pytest.fixture
def start(folder, table):
    """Start a process that runs a piece of code on the folder and the table's images."""
    started = []

    def run(code):
        command = [sys.executable, "-c", code, str(folder), *map(str, table.paths)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_killed_process_leaves_no_half_entry(store, table, folder, start):
    killed = start(KILLED)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (name for name in stored(folder) if name.endswith(".tmp"))
    assert left.startswith(".")
    other = folder / "images" / ".8x8-other.1.tmp"  # another process may be writing it
    other.mkdir()
    np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))
    assert [name for name in stored(folder) if name.endswith(".tmp")] == [other.name]


def test_two_processes_at_once_decode_once(store, table, start):
    first = start(PAUSED)
    assert first.stdout.readline() == "decoding\n"
    second = start(COUNTED)
    assert "waiting for another process" in second.stderr.readline()
    first_told, _ = first.communicate("go on\n", timeout=60)
    second_told, _ = second.communicate(timeout=60)
    checksum = store.images(table, 8).checksum
    assert (first_told, second_told) == (f"{N} {checksum}\n", f"0 {checksum}\n")
    np.testing.assert_array_equal(store.images(table, 8).pixels, expected(table))
