from itertools import pairwise

import numpy as np
import pytest
from videos import turned, write_video

from tl_hpo.errors import UserError
from tl_hpo.inference.inputs import open_input
from tl_hpo.inference.video import Video, is_video


def grey(number, size=(48, 64)):
    return np.full((*size, 3), 10 * number, np.uint8)


def entries(video, batch_size=4):
    return [entry for batch in video.batches((32, 32), batch_size) for entry in batch.entries]


@pytest.fixture
def film(tmp_path):
    """Twenty frames in two seconds, each a shade brighter."""
    return write_video(tmp_path / "film.mp4", [grey(number) for number in range(20)])


def test_all_frames_come_in_order_with_their_times(film):
    batches = list(Video(film, every=0).batches((32, 32), 8))
    assert [len(batch.entries) for batch in batches] == [8, 8, 4]
    frames = [entry for batch in batches for entry in batch.entries]
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 10 for n in range(20)])
    shades = [image.mean() for batch in batches for image in batch.images]
    assert all(after > before for before, after in pairwise(shades))
    assert shades == pytest.approx([10 * n for n in range(20)], abs=4)


@pytest.mark.parametrize(
    ("every", "numbers"),
    [(0.5, [0, 5, 10, 15]), (0.25, [0, 3, 5, 8, 10, 13, 15, 18])],
)
def test_frames_are_taken_at_the_first_moment_that_they_are_due(film, every, numbers):
    video = Video(film, every)
    assert [frame.number for frame in entries(video)] == numbers
    assert video.total == pytest.approx(len(numbers), abs=1)


def test_an_irregular_clock_is_followed(tmp_path):
    times = [0.0, 0.1, 0.2, 0.9, 3.0, 3.1, 3.6]
    path = write_video(tmp_path / "odd.mp4", [grey(n) for n in range(7)], times)
    assert [frame.seconds for frame in entries(Video(path, 0))] == pytest.approx(times)
    assert [frame.number for frame in entries(Video(path, 0.5))] == [0, 3, 4, 6]


def test_a_turned_video_is_seen_as_players_show_it(tmp_path):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:12] = 255  # the upper edge, which a quarter clockwise puts to the right
    path = turned(write_video(tmp_path / "phone.mp4", [pixels] * 3))
    image = next(iter(Video(path, 0, pictures=1).batches((32, 32), 4)))
    assert image.images[0][:, -4:].mean() > 200
    assert image.images[0][:, :16].mean() < 40
    assert image.entries[0].picture().size == (48, 64)


def test_pictures_are_kept_of_the_first_frames_alone(film):
    frames = entries(Video(film, 0, pictures=3))
    assert [frame.kept is not None for frame in frames] == [True] * 3 + [False] * 17


def test_of_a_video_that_was_cut_off_what_is_there_is_used(tmp_path, caplog):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(20)]
    path = write_video(tmp_path / "cut.mkv", noise)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = rng.integers(0, 256, 3000, dtype=np.uint8).tobytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    assert 4 < len(entries(Video(path, 0))) < 20


def test_a_video_without_a_frame_is_refused(tmp_path, film):
    path = tmp_path / "empty.mp4"
    data = bytearray(film.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    with pytest.raises(UserError, match="frames that can be decoded"):
        entries(Video(path, 0))


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_a_title_need_not_be_utf8(tmp_path, suffix):
    path = write_video(tmp_path / f"old.{suffix}", [grey(1)] * 3, title="XXXXtitle")
    data = path.read_bytes()
    assert b"XXXXtitle" in data
    path.write_bytes(data.replace(b"XXXX", b"\xe6\xf8\xe5 "))
    video = open_input(path, every=0)
    assert isinstance(video, Video)
    assert len(entries(video)) == 3


def test_text_and_playlists_are_no_videos(tmp_path, film):
    assert is_video(film)
    for name, text in (
        ("a.txt", "text" * 99),
        ("a.m3u8", f"#EXTM3U\n#EXTINF:2,\n{film}\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", f"ffconcat version 1.0\nfile {film.name}\n"),
    ):
        (tmp_path / name).write_text(text)
        assert not is_video(tmp_path / name)


def test_what_is_given_is_told_apart(tmp_path, film):
    assert isinstance(open_input(film, 0.5), Video)
    hidden = film.rename(tmp_path / "film")  # no suffix
    assert isinstance(open_input(hidden, 0.5), Video)
