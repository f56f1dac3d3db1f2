import logging
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tl_hpo.data import images as module
from tl_hpo.data.images import decode, decode_into, image_shape, readable
from tl_hpo.data.sources import load_table
from tl_hpo.errors import UserError

NAMES = [f"{folder}/{i}.png" for folder in ("a", "b") for i in range(10)]


@pytest.fixture
def root(plant):
    return plant(*NAMES)


@pytest.fixture
def load(dataset, root, monkeypatch):
    """Decode all images; return the table of the readable ones and the pixels of all."""
    monkeypatch.setattr(module, "_told", set())

    def run(size=16, workers=None, **keywords):
        table = load_table(dataset("folder", root=root))
        images = np.zeros((len(table), *image_shape(size), 3), dtype=np.uint8)
        failures = decode_into(images, table.paths, workers)
        return readable(table, failures, **keywords), images

    return run


def test_images_are_squashed_to_height_and_width(load, frames):
    _, images = load((8, 12))
    assert images.shape == (20, 8, 12, 3)
    expected = Image.fromarray(frames[0]).resize((12, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images[0], np.asarray(expected))


def test_any_number_of_threads_gives_the_same(load):
    np.testing.assert_array_equal(load(workers=1)[1], load(workers=7)[1])


def test_exif_orientation_is_respected(tmp_path, frames):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown rotated by 270 degrees
    Image.fromarray(frames[0]).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(decode(tmp_path / "x.png", (32, 32)), np.rot90(frames[0], -1))


def test_reduced_jpeg_decoding_changes_next_to_nothing(tmp_path, frames):
    large = Image.fromarray(frames[0]).resize((800, 600), Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpg", quality=95)
    with Image.open(tmp_path / "x.jpg") as image:
        full = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(decode(tmp_path / "x.jpg", (64, 64)) - full).mean() < 1


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("CMYK", "tiff"), ("CMYK", "jpg"), ("P", "png"), ("1", "png"), ("RGBA", "png")],
)
def test_every_colour_mode_becomes_rgb(tmp_path, frames, mode, suffix):
    path = tmp_path / f"x.{suffix}"
    source = Image.fromarray(frames[0]).convert(mode)
    source.save(path, quality=100)
    difference = decode(path, (32, 32)).astype(float) - np.asarray(source.convert("RGB"))
    assert np.abs(difference).mean() < 1  # even at this quality JPEG loses a little


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    grey = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / f"x.{suffix}")
    decoded = decode(tmp_path / f"x.{suffix}", (32, 32))
    np.testing.assert_allclose(decoded[..., 0], grey / 257, atol=0.51)


def test_transparent_pixels_are_black(tmp_path, frames):
    alpha = np.zeros((32, 32, 1), dtype=np.uint8)
    Image.fromarray(np.concatenate([frames[0], alpha], axis=2)).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png", (32, 32)).max() == 0


def test_few_unreadable_files_are_named_and_left_out(load, root, caplog):
    (root / "a/notes.txt").write_text("no image")
    (root / "b/3.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        table, images = load()
    assert table.counts() == {"a": 10, "b": 9}
    assert {path.name for path in table.paths}.isdisjoint({"notes.txt"})
    assert np.count_nonzero(images.max(axis=(1, 2, 3))) == 19
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "2 of 21 files" in message
    assert "a/notes.txt, b/3.png" in message


def test_what_is_left_out_is_told_once(load, root, caplog):
    (root / "b/3.png").write_bytes(b"")
    for _ in range(2):
        load()
    assert len(caplog.records) == 1


def test_truncated_image_is_unreadable(load, root, caplog, frames):
    path = root / "a/0.png"
    path.unlink()
    Image.fromarray(frames[0]).resize((300, 300)).save(path.with_suffix(".jpg"))
    whole = path.with_suffix(".jpg").read_bytes()
    path.with_suffix(".jpg").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        table, _ = load()
    assert table.counts()["a"] == 9
    assert "a/0.jpg" in caplog.text


def test_decompression_bomb_is_unreadable(load, root, caplog, frames, monkeypatch):
    Image.fromarray(frames[0]).resize((100, 100)).save(root / "a/0.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with caplog.at_level(logging.WARNING):
        table, _ = load()
    assert table.counts()["a"] == 9
    assert "DecompressionBombError" in caplog.text


def test_float_pixels_are_unreadable(tmp_path):
    Image.fromarray(np.ones((8, 8), dtype=np.float32)).save(tmp_path / "x.tiff")
    with pytest.raises(ValueError, match="no known range"):
        decode(tmp_path / "x.tiff", (8, 8))


def test_no_readable_file_is_refused(load, root):
    for name in NAMES:
        (root / name).write_text("no image")
    with pytest.raises(UserError, match=r"none of 20 files .* \(a/0.png, a/1.png, .*, \.\.\.\)"):
        load()


def test_too_many_unreadable_files_are_refused(load, root):
    for name in NAMES[:3]:
        (root / name).write_text("no image")
    with pytest.raises(UserError, match=r"share of 0.1 .* 0.150 \(3 of 20: a/0.png"):
        load()
    assert len(load(max_unreadable=0.2)[0]) == 17


def test_class_that_loses_too_many_is_refused(load, root):
    for name in NAMES[:9]:
        (root / name).write_text("no image")
    with pytest.raises(UserError, match="'a' has 1"):
        load(max_unreadable=1.0)


@pytest.mark.parametrize("size", [0, -1, (0, 8)])
def test_size_below_one_is_refused(load, size):
    with pytest.raises(UserError, match="image_size must be at least 1"):
        load(size)


def test_share_that_is_none_is_refused(load):
    with pytest.raises(UserError, match="max_unreadable must be a share"):
        load(max_unreadable=10)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_of_an_animation_the_first_frame_counts(tmp_path, suffix):
    colours = [Image.new("RGB", (8, 8), name) for name in ("red", "green", "blue")]
    path = tmp_path / f"x.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    colours[0].save(path, save_all=True, append_images=colours[1:], **options)
    np.testing.assert_array_equal(decode(path, (8, 8)), np.full((8, 8, 3), [255, 0, 0]))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_very_wide_image_is_squashed(tmp_path, suffix):
    wide = Image.new("RGB", (20_000, 200), "red")
    wide.paste("blue", (10_000, 0, 20_000, 200))
    wide.save(tmp_path / f"x.{suffix}", quality=95)
    decoded = decode(tmp_path / f"x.{suffix}", (32, 32)).astype(int)
    assert np.abs(decoded[:, :15] - [255, 0, 0]).max() < 5
    assert np.abs(decoded[:, 17:] - [0, 0, 255]).max() < 5


BOMB = """
import resource, sys
from pathlib import Path
from tl_hpo.data.images import decode
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(Path(sys.argv[1]), (32, 32))
except Exception as error:
    print(type(error).__name__)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_twenty_thousand_pixels_square_are_refused_without_the_memory(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.new("L", (20_000, 20_000)).save(path)
    command = [sys.executable, "-c", BOMB, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    name, kilobytes = done.stdout.split()
    assert name == "DecompressionBombError"
    assert int(kilobytes) < 50_000  # decoded, it would take 400,000 in grey alone


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0"])
def test_the_beginning_of_an_image_is_unreadable(load, root, caplog, content):
    (root / "a/0.png").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        table, _ = load()
    assert table.counts()["a"] == 9
    assert "1 of 20 files cannot be read and are left out: a/0.png" in caplog.text


def test_a_folder_and_a_dead_link_named_as_images_are_unreadable(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    failures = decode_into(images, [tmp_path / "folder.png", tmp_path / "link.png"])
    assert list(failures) == [0, 1]
