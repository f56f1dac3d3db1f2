import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.files import replacing
from tl_hpo.models.reuse import disk
from tl_hpo.models.reuse.disk import META_FILE, DiskRoom, disk_rate
from tl_hpo.models.reuse.passes import TensorSpec
from tl_hpo.models.reuse.rooms import Key

ONE = (TensorSpec((1,), torch.uint8, False),)  # as many bytes as images
KEY = Key("work", 1)


@pytest.fixture
def room(tmp_path):
    return DiskRoom(tmp_path, 100)


def another(room):
    """Return what another process, or a later one, has of the same folder."""
    return DiskRoom(room.folder, room.budget)


def keep(room, cut, size, seconds=1.0, work="work"):
    with room.making(Key(work, cut), ONE, size, seconds) as (tensor,):
        tensor.fill_(cut)


def use_at(room, cut, when):
    """Set when the entry was used last."""
    os.utime(room.folder / f"work-{cut}" / META_FILE, (when, when))


def entries(room):
    return {path.name for path in room.folder.iterdir() if path.is_dir()}


def as_bytes(tensor):
    return tensor.contiguous().view(torch.uint8)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_entry_is_read_by_a_later_process_bit_for_bit_in_its_layout(room, dtype, last):
    made = torch.randn(5, 2, 3, 4).to(dtype)
    made = made.contiguous(memory_format=torch.channels_last) if last else made
    features = torch.randn(5, 7)
    specs = [TensorSpec.of(made), TensorSpec.of(features)]
    with room.making(KEY, specs, 5, 2.5) as tensors:
        for tensor, spec, value in zip(tensors, specs, (made, features), strict=True):
            tensor[:] = spec.stored(value)
    for reader in (room, another(room)):
        found = reader.find(KEY)
        assert found.making == 2.5
        assert torch.equal(as_bytes(found.tensors[0]), as_bytes(made))
        assert found.tensors[0].stride() == made.stride()
        assert torch.equal(found.tensors[1], features)
        assert reader.cuts("work") == [1]


def test_what_a_later_process_does_to_a_tensor_does_not_reach_the_file(room):
    keep(room, 1, 10)
    another(room).find(KEY).tensors[0].zero_()
    assert (another(room).find(KEY).tensors[0] == 1).all()


def test_what_the_maker_does_to_a_tensor_does_not_reach_the_file(room):
    keep(room, 1, 10)
    room.find(KEY).tensors[0].zero_()
    assert (another(room).find(KEY).tensors[0] == 1).all()


def flip_a_byte(folder):
    content = bytearray((folder / "0.bin").read_bytes())
    content[3] ^= 1
    (folder / "0.bin").write_bytes(content)


def change(**values):
    def apply(folder):
        described = json.loads((folder / META_FILE).read_text())
        (folder / META_FILE).write_text(json.dumps(described | values))

    return apply


DAMAGE = {
    "a flipped byte": flip_a_byte,
    "a truncated file": lambda folder: os.truncate(folder / "0.bin", 4),
    "a missing file": lambda folder: (folder / "0.bin").unlink(),
    "garbage": lambda folder: (folder / META_FILE).write_bytes(b"\xff\x00garbage"),
    "an empty description": lambda folder: (folder / META_FILE).write_text(""),
    "another description": lambda folder: (folder / META_FILE).write_text("[]"),
    "another format": change(format=0),
    "more images than there are": change(length=1 << 30),
    "no dtype of torch": change(tensors=[{"shape": [1], "dtype": "nn", "channels_last": False}]),
    "no length": change(length=None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_noticed_told_and_removed(room, caplog, damage):
    keep(room, 1, 10)
    DAMAGE[damage](room.folder / "work-1")
    assert another(room).find(KEY) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "damaged" in caplog.text
    assert str(room.folder / "work-1") in caplog.text
    assert entries(room) == set()
    keep(room, 1, 10)
    assert another(room).find(KEY) is not None


@pytest.mark.parametrize(
    "damage",
    [
        "garbage",
        "an empty description",
        "another description",
    ],
)
def test_a_description_that_cannot_be_read_does_not_hinder_other_work(room, damage):
    keep(room, 1, 10)
    DAMAGE[damage](room.folder / "work-1")
    keep(room, 2, 10, work="other")
    assert room.free() <= 90
    assert another(room).cuts("other") == [2]


KILLED = """
import os, signal, sys
from pathlib import Path
from tl_hpo.models.reuse.disk import DiskRoom
from tl_hpo.models.reuse.passes import TensorSpec
from tl_hpo.models.reuse.rooms import Key
import torch
room = DiskRoom(Path(sys.argv[1]), 1 << 20)
with room.making(Key("work", 1), [TensorSpec((8,), torch.float32, False)], 100, 1.0) as (tensor,):
    tensor[:50] = 1
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_no_entry_and_no_lock(room):
    done = subprocess.run([sys.executable, "-c", KILLED, str(room.folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert room.find(KEY) is None
    assert room.cuts("work") == []
    assert room.free() == 100
    keep(room, 1, 10)
    assert (another(room).find(KEY).tensors[0] == 1).all()


def test_what_a_killed_writer_left_is_removed_by_the_next(room):
    left = room.folder / f".work-1.{1 << 23}.tmp"  # of a process that is not
    left.mkdir()
    (left / "0.bin").write_bytes(bytes(50))
    keep(another(room), 1, 10)
    assert not left.exists()


def test_making_that_fails_leaves_nothing(room):
    with pytest.raises(RuntimeError, match="failed"), room.making(KEY, ONE, 10, 1.0):
        raise RuntimeError("failed")
    assert entries(room) == set()
    assert room.find(KEY) is None


def test_a_full_disk_is_an_oserror_before_anything_is_written(room, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"), room.making(KEY, ONE, 10, 1.0):
        pytest.fail("there is nothing to fill")
    assert entries(room) == set()
    assert room.find(KEY) is None


def test_two_rooms_on_one_folder_share_entries_and_budget(room):
    other = another(room)
    assert other.find(KEY) is None
    keep(room, 1, 60)
    keep(other, 2, 30)
    assert sorted(room.cuts("work")) == sorted(other.cuts("work")) == [1, 2]
    assert room.free() == other.free() == 10
    assert (room.find(Key("work", 2)).tensors[0] == 2).all()


def test_an_entry_that_another_process_removes_is_simply_absent(room, caplog):
    keep(room, 1, 60)
    other = another(room)
    mapped = other.find(KEY).tensors[0]
    room.make_room(100, ())
    assert other.find(KEY) is None
    assert other.cuts("work") == []
    assert (mapped == 1).all()  # whoever reads it keeps it
    assert not caplog.records
    keep(room, 1, 20)
    assert len(other.find(KEY).tensors[0]) == 20


def test_an_entry_that_goes_while_it_is_opened_is_simply_absent(room, monkeypatch):
    keep(room, 1, 60)

    def gone(path):
        shutil.rmtree(path.parent)
        raise FileNotFoundError(errno.ENOENT, "No such file", str(path))

    other = another(room)
    monkeypatch.setattr(disk, "checksum", gone)
    assert other.find(KEY) is None


@pytest.mark.parametrize("reason", [errno.ENOENT, errno.EROFS, errno.EPERM])
def test_an_entry_whose_use_cannot_be_noted_does_no_harm(room, monkeypatch, reason):
    keep(room, 1, 60)

    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "utime", refuse)
    another(room).find(KEY)


def test_what_was_used_longest_ago_gives_way_first(room):
    for cut, seconds in ((1, 1.0), (2, 2.0), (3, 4.0)):
        keep(room, cut, 30, seconds)
        use_at(room, cut, when=1000 + cut)
    assert room.regret(10, ()) == 0.0
    assert room.regret(20, ()) == 1.0
    assert room.regret(50, ()) == 3.0
    assert room.regret(50, [Key("work", 2)]) == 5.0
    room.find(KEY)  # used just now
    room.make_room(20, ())
    assert sorted(room.cuts("work")) == [1, 3]


@pytest.mark.parametrize(("size", "protected"), [(101, []), (50, [KEY])])
def test_what_cannot_fit_makes_nothing_give_way(room, size, protected):
    keep(room, 1, 60)
    assert room.regret(size, protected) == math.inf
    room.make_room(size, protected)
    assert room.cuts("work") == [1]


MADE = st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=6)


@given(MADE)
def test_the_budget_is_never_exceeded_and_what_is_protected_stays(tmp_path_factory, made):
    room, protected = DiskRoom(tmp_path_factory.mktemp("room"), 100), []
    for cut, (size, protect) in enumerate(made):
        if math.isinf(room.regret(size, protected)):
            continue
        room.make_room(size, protected)
        keep(room, cut, size)
        protected += [Key("work", cut)] if protect else []
        kept = room.cuts("work")
        assert sum(room.find(Key("work", each)).bytes for each in kept) <= room.budget
        assert {key.cut for key in protected} <= set(kept)


def test_the_disk_has_the_space_of_what_gave_way_again(room):
    keep(room, 1, 60)
    room.make_room(100, ())
    with open("/proc/self/maps") as maps:
        assert not [line for line in maps if str(room.folder) in line]


def test_a_folder_that_is_not_there_yet_holds_nothing(tmp_path):
    room = DiskRoom(tmp_path / "new" / "folder", 100)
    assert room.find(KEY) is None
    assert room.cuts("work") == []
    assert room.free() == 100
    keep(room, 1, 10)
    assert room.cuts("work") == [1]


def test_works_do_not_see_each_other(room):
    keep(room, 2, 10, work="work-1")
    assert room.cuts("work") == []
    assert room.cuts("work-1") == [2]


def test_the_rate_is_measured_and_leaves_nothing(tmp_path):
    assert 1e4 < disk_rate(tmp_path, 1 << 16) < 1e13
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_cannot_be_written_is_next_to_infinitely_slow(tmp_path):
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("no folder")
    assert disk_rate(tmp_path / "file" / "folder") == 1.0
