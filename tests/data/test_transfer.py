"""Against a real server, which counts what is asked for and sent."""

import json
import random

import pytest

from tl_hpo.data import transfer as module
from tl_hpo.data.archive import NoRoomError
from tl_hpo.data.transfer import ResumingDownloader, TransferError

CONTENT = random.Random(0).randbytes(300_000)
NAME = "a.zip"


@pytest.fixture
def part(tmp_path):
    return tmp_path / "a.zip.part"


@pytest.fixture
def fetch(server, part, tmp_path, quick_retries):
    """Fetch the file and return its bytes."""
    server.files[NAME] = CONTENT

    def run(url=None):
        downloader = ResumingDownloader(part, NAME)
        downloader(url or server.url(NAME), tmp_path / "out")
        downloader.discard()
        return (tmp_path / "out").read_bytes()

    return run


def test_the_whole_file_comes_in_one_request_and_nothing_else_stays(server, fetch, tmp_path):
    assert fetch() == CONTENT
    assert server.ranges_asked == [None]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_transfer_that_breaks_goes_on_where_it_broke(server, fetch):
    server.cuts = [100_000, 50_000]
    assert fetch() == CONTENT
    assert server.ranges_asked == [None, "bytes=100000-", "bytes=150000-"]
    assert server.asked[1][2] == '"first"'
    assert server.sent == len(CONTENT)


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, fetch, part, monkeypatch):
    monkeypatch.setattr(module, "BREAKS", 0)
    server.cuts = [123_456]
    with pytest.raises(TransferError, match="broke after 123,456 bytes"):
        fetch()
    assert part.stat().st_size == 123_456
    assert fetch() == CONTENT
    assert server.ranges_asked == [None, "bytes=123456-"]
    assert server.sent == len(CONTENT)


def test_what_is_whole_but_was_not_put_in_place_is_not_asked_for_again(server, fetch, part):
    part.write_bytes(CONTENT)
    note = {"url": server.url(NAME), "validator": '"first"', "total": len(CONTENT)}
    part.with_name("a.zip.part.json").write_text(json.dumps(note))
    assert fetch() == CONTENT
    assert not server.asked


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_has_changed_is_fetched_anew(server, fetch, monkeypatch, ranges):
    monkeypatch.setattr(module, "BREAKS", 0)
    server.cuts = [1000]
    with pytest.raises(TransferError):
        fetch()
    server.files[NAME] = CONTENT[::-1]
    server.etag, server.ranges = '"second"', ranges
    assert fetch() == CONTENT[::-1]


def test_a_server_without_ranges_gives_the_whole_anew(server, fetch):
    server.ranges, server.cuts = False, [1000]
    assert fetch() == CONTENT
    assert server.ranges_asked == [None, "bytes=1000-"]
    assert server.sent == 1000 + len(CONTENT)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_validator_nothing_is_pieced_together(server, fetch, etag):
    server.etag, server.cuts = etag, [1000]
    assert fetch() == CONTENT
    assert server.ranges_asked == [None, None]


def test_a_part_of_another_address_is_of_no_use(server, fetch, monkeypatch):
    monkeypatch.setattr(module, "BREAKS", 0)
    server.cuts, server.files["b.zip"] = [1000], b"b" * 2000
    with pytest.raises(TransferError):
        fetch()
    assert fetch(server.url("b.zip")) == b"b" * 2000
    assert server.ranges_asked == [None, None]


@pytest.mark.parametrize("note", ["", "[]", '{"url": 1, "other": 2}', None])
def test_a_part_of_which_nothing_is_known_is_of_no_use(server, fetch, part, note):
    part.write_bytes(b"x" * 1000)
    if note is not None:
        part.with_name("a.zip.part.json").write_text(note)
    assert fetch() == CONTENT
    assert server.ranges_asked == [None]


def test_a_part_that_is_too_long_is_of_no_use(server, fetch, part):
    part.write_bytes(b"x" * (len(CONTENT) + 1))
    note = {"url": server.url(NAME), "validator": '"first"', "total": len(CONTENT)}
    part.with_name("a.zip.part.json").write_text(json.dumps(note))
    assert fetch() == CONTENT


def test_a_file_that_is_shorter_by_now_is_fetched_anew(server, fetch, part):
    part.write_bytes(b"x" * 1000)
    note = {"url": server.url(NAME), "validator": '"first"', "total": 2000}
    part.with_name("a.zip.part.json").write_text(json.dumps(note))
    server.files[NAME] = b"short"
    assert fetch() == b"short"
    assert server.ranges_asked == ["bytes=1000-", None]


def test_a_file_of_another_size_under_the_same_validator_is_fetched_anew(server, fetch, part):
    part.write_bytes(b"x" * 1000)
    note = {"url": server.url(NAME), "validator": '"first"', "total": 2000}
    part.with_name("a.zip.part.json").write_text(json.dumps(note))
    assert fetch() == CONTENT


def test_a_server_that_does_not_tell_the_length_is_read_to_the_end(server, fetch):
    server.length = False
    assert fetch() == CONTENT


def test_a_busy_server_is_asked_again(server, fetch):
    server.failures = [(503, {}), (429, {"Retry-After": "0"})]
    assert fetch() == CONTENT
    assert len(server.asked) == 3


def test_what_a_busy_server_asks_for_is_kept_but_not_for_hours(server, fetch, monkeypatch):
    waits = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    server.failures = [(503, {"Retry-After": "7"}), (503, {"Retry-After": "86400"})]
    assert fetch() == CONTENT
    assert waits == [7, module.LONGEST_WAIT]


def test_a_server_that_stays_busy_is_told(server, fetch):
    server.failures = [(503, {})] * 9
    with pytest.raises(TransferError, match="answers 503 Service Unavailable"):
        fetch()
    assert len(server.asked) == 1 + module.STATUS_TRIES


def test_a_server_that_falls_silent_is_asked_again(server, fetch, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", (5, 0.2))
    server.stalls = [0.6]
    assert fetch() == CONTENT
    assert server.ranges_asked == [None, None]


def test_a_server_without_encryption_is_told_after_few_tries(server, fetch):
    with pytest.raises(TransferError, match="SSL"):
        fetch(server.url(NAME).replace("http:", "https:"))


def test_an_address_that_is_wrong_is_told_at_once(server, fetch):
    with pytest.raises(TransferError, match="answers 404 Not Found"):
        fetch(server.url("other.zip"))
    assert len(server.asked) == 1


def test_nobody_listening_is_told_once_and_in_few_words(fetch, unused_url, caplog):
    with pytest.raises(TransferError, match=r"^Failed to .*Connection refused$"):
        fetch(unused_url("a.zip"))
    assert not caplog.records


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/a.zip", "http://[/a.zip", "http://ü..x/a"])
def test_an_address_that_is_none_is_told(fetch, url):
    with pytest.raises(TransferError):
        fetch(url)


def test_no_room_is_told_before_the_first_byte(server, fetch, part, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 299_999}))
    with pytest.raises(NoRoomError, match="300,000 bytes are needed, 299,999 are free"):
        fetch()
    assert part.stat().st_size == 0


def test_room_is_needed_for_what_is_missing_only(server, fetch, monkeypatch):
    server.cuts = [100_000]
    free = iter([300_000, 200_000])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": next(free)}))
    assert fetch() == CONTENT
