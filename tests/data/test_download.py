"""From a configuration to images on disk, against a real server on this machine."""

import errno
import hashlib
import io
import logging
import os
import subprocess
import sys
import threading
import zipfile

import pytest
from PIL import Image

from tl_hpo.data import download as module
from tl_hpo.data.published import HYPERKVASIR, KVASIR, NERTHUS
from tl_hpo.data.sources import load_table
from tl_hpo.errors import UserError

FILE = "nerthus.zip"


def packed(frames, names, mode=zipfile.ZIP_STORED):
    """Return the bytes of a zip file of phantom frames of these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", mode) as archive:
        for index, name in enumerate(names):
            image = io.BytesIO()
            Image.fromarray(frames[index % len(frames)]).save(image, "png")
            archive.writestr(name, image.getvalue())
    return buffer.getvalue()


@pytest.fixture
def archive(frames):
    name = "nerthus-dataset-frames/{0}/bowel_{1}_score_{0}-1_0000000{2}.jpg"
    names = [name.format(score, 10 + score, i) for score in range(4) for i in range(2)]
    return packed(frames, names)


@pytest.fixture
def data(tmp_path):
    """The folder in which the root is to be."""
    return tmp_path / "data"


@pytest.fixture
def load(dataset, data, server, archive, quick_retries):
    """Load Nerthus from the server."""
    server.files[FILE] = archive

    def run(name="nerthus", **settings):
        settings = {"root": data / "nerthus", "url": server.url(FILE)} | settings
        return load_table(dataset(name, **settings))

    return run


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def told(load, **settings):
    with pytest.raises(UserError) as caught:
        load(**settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("state", ["absent", "empty", "link to an empty folder"])
def test_an_absent_dataset_is_fetched_and_unpacked(load, data, server, state, tmp_path):
    if state == "empty":
        (data / "nerthus").mkdir(parents=True)
    if state.startswith("link"):
        (tmp_path / "disk").mkdir()
        data.mkdir()
        (data / "nerthus").symlink_to(tmp_path / "disk")
    table = load()
    assert table.counts() == dict.fromkeys("0123", 2)
    assert table.groups[:3] == ("10", "10", "11")
    assert table.root == data / "nerthus" / "nerthus-dataset-frames"
    assert names_in(data) == ["nerthus", "nerthus.zip.sha256"]
    assert (data / "nerthus").is_symlink() == state.startswith("link")
    load()
    assert len(server.asked) == 1


def test_size_terms_page_and_address_are_told_first(load, dataset, data, server, caplog):
    with caplog.at_level(logging.INFO), pytest.raises(UserError):
        load("kvasir", root=data / "kvasir", url=server.url("absent.zip"))
    assert "fetching it from http://127.0.0.1" in caplog.text
    assert "about 2.3 GB" in caplog.text
    assert "dataset.download=false" in caplog.text
    assert KVASIR["2"].terms in caplog.text
    assert KVASIR["2"].page in caplog.text


def test_the_checksum_that_was_got_is_written_as_sha256sum_does(load, data, archive):
    load()
    (data / FILE).write_bytes(archive)
    done = subprocess.run(["sha256sum", "-c", f"{FILE}.sha256"], cwd=data, check=False)
    assert done.returncode == 0


def test_a_transfer_that_broke_goes_on_in_the_next_call(load, data, server, archive, monkeypatch):
    monkeypatch.setattr("tl_hpo.data.transfer.BREAKS", 0)
    server.cuts = [1000]
    message = told(load)
    assert "repeat the command to go on from there" in message
    assert names_in(data) == [f"{FILE}.part", f"{FILE}.part.json"]
    assert load().counts() == dict.fromkeys("0123", 2)
    assert server.ranges_asked == [None, "bytes=1000-"]
    assert server.sent == len(archive)


def test_without_an_answer_address_and_place_are_told(load, data, unused_url):
    url = unused_url(FILE)
    message = told(load, url=url)
    for word in (url, str(data / FILE), NERTHUS.page, "Connection refused"):
        assert word in message
    assert names_in(data) == []


def test_a_wrong_address_is_told(load, server):
    assert "answers 404 Not Found" in told(load, url=server.url("other.zip"))


def test_nothing_is_fetched_where_that_is_forbidden(load, data, server):
    message = told(load, download=False)
    for word in (f"unpack {NERTHUS.url} there", str(data / FILE), "dataset.download=false"):
        assert word in message
    assert not server.asked
    assert not data.exists()


@pytest.mark.parametrize("download", [True, False])
def test_an_archive_of_the_users_is_unpacked_without_network_and_kept(
    load, data, server, archive, download
):
    data.mkdir()
    (data / FILE).write_bytes(archive)
    assert load(download=download).counts() == dict.fromkeys("0123", 2)
    assert not server.asked
    assert (data / FILE).read_bytes() == archive
    assert (data / f"{FILE}.sha256").read_text() == f"{sha256(archive)}  {FILE}\n"


def test_a_root_that_is_not_empty_is_left_alone(load, data, server):
    (data / "nerthus").mkdir(parents=True)
    (data / "nerthus" / ".hidden").touch()
    assert "empty folder" in told(load)
    (data / "nerthus" / "0").mkdir()
    assert "without 1, 2, 3" in told(load)
    assert not server.asked


def test_the_configured_checksum_is_checked(load, data, archive):
    message = told(load, sha256="0" * 64)
    assert f"must have the SHA-256 {'0' * 64}, got {sha256(archive)} from http" in message
    assert f"dataset.sha256={sha256(archive)}" in message
    assert names_in(data) == []
    load(sha256=sha256(archive).upper())
    assert names_in(data) == ["nerthus"]


def test_the_published_checksum_is_checked_of_mirrors_too(load, data, archive):
    message = told(load, name="hyperkvasir")
    assert HYPERKVASIR.sha256 in message
    assert sha256(archive) in message


def test_an_archive_of_the_users_with_another_checksum_is_refused_and_kept(load, data):
    data.mkdir()
    (data / FILE).write_bytes(b"other")
    message = told(load, sha256="0" * 64)
    assert f"got {sha256(b'other')} from {data / FILE}" in message
    assert (data / FILE).read_bytes() == b"other"


@pytest.mark.parametrize("by_hand", [True, False])
def test_an_archive_that_differs_from_the_first_one_is_refused(
    load, data, server, frames, archive, by_hand
):
    load(root=data / "first")
    other = packed(frames, ["0/x.png"])
    if by_hand:
        (data / FILE).write_bytes(other)
    server.files[FILE] = other
    message = told(load)
    assert f"remove {data / FILE}.sha256 if the publisher has replaced the archive" in message
    assert f"{sha256(archive)} that" in message
    assert f"got {sha256(other)}" in message
    (data / f"{FILE}.sha256").unlink()
    assert "without 1, 2, 3" in told(load)  # unpacked this time


def test_a_record_that_is_none_is_refused(load, data):
    data.mkdir()
    (data / f"{FILE}.sha256").write_text("none")
    assert "must begin with 64 hex digits" in told(load)


def test_a_damaged_archive_is_removed_if_it_was_fetched_and_nothing_is_recorded(load, data, server):
    server.files[FILE] = server.files[FILE].replace(b"IDAT", b"LDAT")
    message = told(load)
    assert "is damaged (Bad CRC-32" in message
    assert "bowel_10_score_0-1_00000000.jpg" in message
    assert names_in(data) == []


def test_a_hostile_archive_of_the_users_writes_nothing_and_stays(load, data, frames, tmp_path):
    data.mkdir()
    (data / FILE).write_bytes(packed(frames, ["0/a.png", "../../evil.png"]))
    assert "'../../evil.png' leads out" in told(load)
    assert names_in(data) == [FILE]
    assert names_in(tmp_path) == ["data"]


def test_no_room_for_the_transfer_is_told_with_address_and_place(load, data, server, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10}))
    message = told(load)
    for word in ("10 are free", server.url(FILE), str(data / FILE), "dataset.root=OTHER"):
        assert word in message


def test_without_room_to_unpack_the_archive_stays_for_the_next_time(
    load, data, server, archive, monkeypatch
):
    free = iter([10**9, 10])
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": next(free)}))
        assert "10 are free" in told(load)
    assert names_in(data) == [f".{FILE}.fetched", FILE]
    load()
    assert len(server.asked) == 1
    assert names_in(data) == ["nerthus", f"{FILE}.sha256"]


def test_a_disk_that_fills_up_meanwhile_is_told(load, data, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "unpack", full)
    assert "No space left on device" in told(load)


def test_a_folder_that_cannot_be_written_is_told(load, tmp_path):
    (tmp_path / "file").touch()
    message = told(load, root=tmp_path / "file" / "nerthus")
    assert "dataset.root must lie in a folder that can be written" in message


def test_what_killed_processes_left_is_removed(load, data):
    for name in (".nerthus.1.tmp", f".{FILE}.x.tmp"):
        (data / name).mkdir(parents=True)
    load()
    assert names_in(data) == ["nerthus", f"{FILE}.sha256"]


def test_of_several_at_once_one_fetches(load, data, server):
    tables = []
    threads = [threading.Thread(target=lambda: tables.append(load())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(table) for table in tables] == [8] * 4
    assert len(server.asked) == 1


LOAD = """
import sys
from omegaconf import OmegaConf
from tl_hpo.data.sources import load_table
print(len(load_table(OmegaConf.create(dict(
    name="nerthus", kind="nerthus", root=sys.argv[1], url=sys.argv[2])))))
"""


def test_of_two_processes_at_once_one_fetches(load, data, server):
    command = [sys.executable, "-c", LOAD, str(data / "nerthus"), server.url(FILE)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == ["8\n"] * 2
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ftp://host/a.zip"}, "dataset.url must be the http or https address"),
        ({"url": 3}, "dataset.url"),
        ({"sha256": "abc"}, "dataset.sha256 must be the 64 hex digits"),
        ({"download": "maybe"}, "dataset.download must be true or false"),
    ],
)
def test_settings_that_are_none_are_refused(load, settings, words):
    assert words in told(load, **settings)


@pytest.fixture
def hyperkvasir(load, data, server, frames):
    """Load a small HyperKvasir from the server, which has its split if asked to."""
    folder = "labeled-images/lower-gi-tract/pathological-findings"
    names = [f"{folder}/{class_}/{class_}{i}.jpg" for class_ in ("a", "b") for i in (0, 1)]
    server.files["x/hyper.zip"] = packed(frames, names)

    def run(split=True, **settings):
        if split:
            rows = [f"{class_}{i}.jpg;{class_};{i}" for class_ in "ab" for i in (0, 1)]
            content = "\n".join(["file-name;class-name;split-index", *rows])
            server.files["x/2_fold_split.csv"] = content.encode()
        return load(
            "hyperkvasir",
            root=data / "hyperkvasir",
            url=server.url("x/hyper.zip"),
            sha256=sha256(server.files["x/hyper.zip"]),
            **settings,
        )

    return run


def test_the_official_split_comes_along(hyperkvasir, data):
    assert hyperkvasir().official == ("0", "1", "0", "1")
    assert names_in(data) == ["hyperkvasir"]
    assert names_in(data / "hyperkvasir") == ["2_fold_split.csv", "labeled-images"]


def test_without_the_official_split_the_images_are_there(hyperkvasir, data, caplog):
    with caplog.at_level(logging.WARNING):
        assert hyperkvasir(split=False).official is None
    assert "2_fold_split.csv, the official split, cannot be fetched" in caplog.text
    assert str(data / "hyperkvasir" / "2_fold_split.csv") in caplog.text


@pytest.mark.parametrize("breaks", [0, 1])
def test_of_an_official_split_that_breaks_off_nothing_stays(
    hyperkvasir, data, server, monkeypatch, breaks
):
    monkeypatch.setattr("tl_hpo.data.transfer.BREAKS", breaks)
    server.cuts = [10**6, 10]
    assert hyperkvasir().official == (("0", "1", "0", "1") if breaks else None)
    assert names_in(data) == ["hyperkvasir"]


@pytest.mark.parametrize("version", [1, 2])
def test_the_version_of_kvasir_decides_what_is_fetched(load, data, version, caplog, unused_url):
    url = unused_url(KVASIR[str(version)].file)
    message = told(load, name="kvasir", version=version, url=url)
    assert f"Kvasir v{version} must be fetched from {url}" in message
    assert str(data / KVASIR[str(version)].file) in message


def test_whoever_interrupts_the_checking_need_not_fetch_again(load, server, data, monkeypatch):
    import pooch.core

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pooch.core, "hash_matches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load()
    assert len(load()) == 8
    assert server.ranges_asked == [None]
    assert not list(data.glob("*.part*"))
