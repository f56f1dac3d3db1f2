import io
import logging
import os
import struct
import subprocess
import sys
import time
import zlib

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
    (root / "a/notes.jpg").write_text("no image")
    (root / "b/3.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        table, images = load()
    assert table.counts() == {"a": 10, "b": 9}
    assert {path.name for path in table.paths}.isdisjoint({"notes.jpg"})
    assert np.count_nonzero(images.max(axis=(1, 2, 3))) == 19
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "2 of 21 files" in message
    assert "a/notes.jpg, b/3.png" in message


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
import numpy
from tl_hpo.data.fingerprints import FingerprintStore
from tl_hpo.data.images import decode_into
from tl_hpo.data.table import ImageTable
from tl_hpo.reporting.figures.images import load
bomb, kept = Path(sys.argv[1]), Path(sys.argv[2])
decode_into(numpy.zeros((1, 1, 1, 3), "u1"), [Path("/dev/null")])  # loads Pillow's plugins
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reasons = decode_into(numpy.zeros((1, 32, 32, 3), "u1"), [bomb])
table = ImageTable("bombs", bomb.parent, ("a",), (bomb,), numpy.zeros(1, int))
readable = FingerprintStore(kept).fingerprints(table, progress=False).readable
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(reasons.get(0, "read"), "|", *readable, load(bomb.parent, bomb.name))
"""


def png(width, height, *chunks, deep=8, colour=2):
    """Return a black PNG image, packed as tightly as it goes."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[colour] * deep // 8)
    packer = zlib.compressobj(1)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, deep, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(width, height, tile):
    """Return a TIFF image of one tile of so many pixels square, deflated."""
    packer = zlib.compressobj(1)
    row = bytes(tile)
    pixels = b"".join([*(packer.compress(row) for _ in range(tile)), packer.flush()])
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile}
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {324: start, 325: len(pixels)}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4) + pixels


def gif(width, height):
    """Return a GIF image of 4 x 4 pixels on a screen of so many."""
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "GIF")
    content = file.getvalue()
    return content[:6] + struct.pack("<HH", width, height) + content[10:]


def blown_up(size=200_000_000):
    return zlib.compress(bytes(size), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")
@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        (lambda: png(20_000, 20_000, colour=0), "DecompressionBombError"),
        (lambda: png(10_000, 10_000, colour=6), "100,000,000 pixels are more than 89,478,485"),
        (lambda: tiff(16, 16, 16_384), "268,435,456 pixels are more than 89,478,485"),
        (lambda: gif(65_535, 65_535), "DecompressionBombError"),
        (lambda: png(4, 4, (b"zTXt", b"a\0\0" + blown_up())), "Decompressed data too large"),
        (lambda: png(4, 4, (b"iCCP", b"a\0\0" + blown_up())), "Decompressed data too large"),
        (lambda: png(4, 4, *[(b"zTXt", b"a\0\0" + blown_up(1_000_000))] * 100), "Too much memory"),
    ],
)  # fmt: skip
def test_bombs_are_unreadable_and_cost_no_memory(tmp_path, bomb, reason):
    path = tmp_path / "x.png"
    path.write_bytes(bomb())
    assert path.stat().st_size < 5_000_000
    command = [sys.executable, "-c", BOMB, str(path), str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kilobytes, told = done.stdout.splitlines()
    assert reason in told
    assert told.endswith("| False None")
    assert int(kilobytes) < 100_000
    assert "Warning" not in done.stderr


def test_an_animation_costs_no_more_than_its_first_frame(tmp_path):
    frames = [Image.new("P", (1000, 1000), number) for number in range(200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    command = [sys.executable, "-c", BOMB, str(tmp_path / "x.gif"), str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kilobytes, told = done.stdout.splitlines()
    assert told.startswith("read | True")
    assert int(kilobytes) < 50_000


def test_an_image_starts_no_program(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'executed'}\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (tmp_path / "x.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    command = [sys.executable, "-c", BOMB, str(tmp_path / "x.png"), str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "UnidentifiedImageError: cannot identify image file" in done.stdout
    assert not (tmp_path / "executed").exists()


def test_large_images_are_decoded_one_at_a_time(root, monkeypatch):
    paths = sorted(root.rglob("*.png"))
    monkeypatch.setattr(module, "LARGE", 10)
    at_once, most = [], []

    def convert(image, original=module.as_rgb):
        at_once.append(image)
        most.append(len(at_once))
        time.sleep(0.01)
        at_once.pop()
        return original(image)

    monkeypatch.setattr(module, "as_rgb", convert)
    assert decode_into(np.zeros((len(paths), 8, 8, 3), dtype=np.uint8), paths, 8) == {}
    assert max(most) == 1


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
