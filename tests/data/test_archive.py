import shutil
import stat
import struct
import zipfile
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tl_hpo.data import archive as module
from tl_hpo.data.archive import ArchiveError, NoRoomError, unpack

LIMIT = 10_000


@pytest.fixture
def pack(tmp_path):
    """Write a zip file of these members: names or ZipInfo, and contents."""

    def write(*members, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for member, content in members:
                archive.writestr(member, content)
        return path

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / "inner" / "out"


@pytest.fixture
def refused(tmp_path, out):
    """Unpack and return the message; nothing may have been written anywhere."""
    out.parent.mkdir()

    def run(path, limit=LIMIT, written=False):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ArchiveError) as caught:
            unpack(path, out, limit)
        if not written:
            assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value)

    return run


def linked(name, kind=stat.S_IFLNK):
    member = zipfile.ZipInfo(name)
    member.external_attr = (kind | 0o777) << 16
    return member


def patched(path, old, new):
    """Replace bytes of headers, which tell lies then."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_and_folders_come_out_as_they_went_in(pack, tmp_path, compression):
    path = pack(("a/", ""), ("a/x.txt", "x" * 5000), ("a/", ""), ("b/ü.txt", ""), ("e/", ""),
                compression=compression)  # fmt: skip
    unpack(path, tmp_path / "out", LIMIT)
    assert (tmp_path / "out/a/x.txt").read_text() == "x" * 5000
    assert (tmp_path / "out/b/ü.txt").read_text() == ""
    assert (tmp_path / "out/e").is_dir()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.txt", "leads out"),
        ("a/../../evil.txt", "leads out"),
        ("..", "leads out"),
        ("/tmp/evil.txt", "absolute"),
        ("C:/evil.txt", "absolute"),
        ("C:evil.txt", "absolute"),
        ("..\\evil.txt", "forbidden signs"),
        ("a\\evil.txt", "forbidden signs"),
    ],
)
def test_a_member_outside_the_folder_is_refused_by_name(pack, refused, name, words):
    message = refused(pack(("fine.txt", "x"), (name, "evil")))
    assert words in message
    assert repr(name) in message


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused_by_name(pack, refused, kind):
    assert "'link' is a link or a device" in refused(pack((linked("link", kind), "/etc/passwd")))


def test_a_name_with_a_zero_byte_is_refused(pack, refused):
    assert "forbidden signs" in refused(patched(pack(("a?.txt", "x")), b"a?.txt", b"a\0.txt"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["a.txt", "./a.txt", ".//a.txt"])
def test_a_member_that_comes_twice_is_refused(pack, refused, twin):
    assert f"{twin!r} comes twice" in refused(pack(("a.txt", "x"), (twin, "y")))


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_in_the_place_of_a_folder_is_refused(pack, refused, names):
    message = refused(pack(*((name, "x") for name in names)), written=True)
    assert f"{names[1]!r} takes the place of another" in message


def test_encrypted_members_are_refused(pack, refused):
    path = pack(("a.txt", "x"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "'a.txt' is encrypted" in refused(path)


def test_other_methods_than_deflate_are_refused(pack, refused):
    path = pack(("a.txt", "x" * 100), compression=zipfile.ZIP_BZIP2)
    assert "'a.txt' is compressed by another method" in refused(path)


def test_more_than_the_limit_is_refused_before_anything_is_written(pack, refused):
    path = pack(("a.txt", "x" * 6000), ("b.txt", "x" * 6000), ("c.txt", "x"))
    message = refused(path)
    assert "'b.txt'" in message
    assert "12,000 bytes" in message
    assert path.stat().st_size < 1000


@pytest.mark.parametrize("names", [[f"{n}/" for n in range(11)], ["a/" * 9 + f"{n}" for n in "xy"]])
def test_more_files_and_folders_than_a_disk_should_have_are_refused(
    pack, refused, names, monkeypatch
):
    monkeypatch.setattr(module, "MAX_ENTRIES", 10)
    message = refused(pack(*((name, "") for name in names)))
    assert f"up to its member {names[-1]!r} it would make" in message


def test_members_that_share_their_bytes_count_each(pack, refused):
    """A bomb whose members overlap is as large as they claim to be together."""
    path = pack(("a.txt", "x" * 6000), ("b.txt", "x" * 6000))
    content = path.read_bytes()
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    path.write_bytes(content[: second + 42] + bytes(4) + content[second + 46 :])  # at the first's
    assert "12,000 bytes" in refused(path)


def test_an_archive_within_an_archive_stays_one(pack, tmp_path):
    inner = pack(("a.txt", "x" * 6000)).read_bytes()
    unpack(pack(("inner.zip", inner)), tmp_path / "out", LIMIT)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inner.zip"]


@pytest.mark.parametrize("said", [10, 9000])
def test_a_header_that_lies_about_the_size_is_refused(pack, refused, out, said):
    path = pack(("a.txt", "x" * 5000))
    lie = patched(path, struct.pack("<I", 5000), struct.pack("<I", said))
    assert "'a.txt'" in refused(lie, written=True)
    assert sum(p.stat().st_size for p in out.rglob("*.txt")) <= 5000


def test_a_member_with_another_checksum_is_refused(pack, refused):
    path = pack(("a.txt", "good content"), compression=zipfile.ZIP_STORED)
    message = refused(patched(path, b"good content", b"evil content"), written=True)
    assert "'a.txt' is damaged (Bad CRC-32" in message


def test_damaged_compressed_bytes_are_refused(pack, refused):
    path = pack(("a.txt", bytes(range(256)) * 20))
    content = bytearray(path.read_bytes())
    content[40:60] = b"\xff" * 20
    path.write_bytes(content)
    assert "'a.txt' is damaged" in refused(path, written=True)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06"])
def test_what_is_no_archive_is_refused(tmp_path, refused, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert "damaged (File is not a zip file)" in refused(tmp_path / "a.zip")


def test_a_truncated_archive_is_refused(pack, refused):
    path = pack(("a.txt", "x" * 5000))
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged" in refused(path)


def test_no_room_is_told_before_anything_is_written(pack, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 99}))
    with pytest.raises(NoRoomError, match="100 bytes are needed, 99 are free"):
        unpack(pack(("a.txt", "x" * 100)), tmp_path / "out", LIMIT)
    assert not any((tmp_path / "out").iterdir())


def test_a_name_that_is_not_the_utf8_it_claims_to_be_is_no_traceback(pack, refused):
    path = pack(("größe.txt", b"x"))
    patched(path, "größe.txt".encode(), b"gr\xff\xff\xfe\xfee.txt")
    assert "damaged" in refused(path, written=True)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_is_damaged_is_told_as_damage(pack, tmp_path, flips):
    """Any bytes of an archive may be wrong: it unpacks, or that is said, and nothing else."""
    path = pack(("folder/größe.txt", b"content " * 20), ("b.txt", b"other"))
    content = bytearray(path.read_bytes())
    for place, value in flips:
        content[place % len(content)] = value
    path.write_bytes(content)
    target = tmp_path / "damaged"
    shutil.rmtree(target, ignore_errors=True)
    with suppress(ArchiveError):
        unpack(path, target, LIMIT)
