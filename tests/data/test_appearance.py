import imagehash
import numpy as np
import pytest
from PIL import Image

from tl_hpo.data.appearance import SHARES, appearance, border, overlay, pack

RED = (150, 60, 50)


def square(*boxes):
    """Return 128 x 128 pixels of one tissue-like colour with (y, x, side, colour) boxes on it."""
    pixels = np.full((128, 128, 3), RED, dtype=np.uint8)
    for y, x, side, colour in boxes:
        pixels[y : y + side, x : x + side] = colour
    return pixels


def test_packed_bits_keep_their_distances():
    bits = np.random.default_rng(0).random((2, 256)) < 0.5
    words = pack(bits)
    assert words.shape == (2, 4)
    expected = imagehash.ImageHash(bits[0]) - imagehash.ImageHash(bits[1])
    assert np.bitwise_count(words[0] ^ words[1]).sum() == expected


def test_border_does_not_see_the_inside():
    inside = square((10, 10, 100, (0, 0, 0)))
    np.testing.assert_array_equal(border(inside), border(square()))


@pytest.mark.parametrize(("y", "x", "segments"), [(0, 0, {0, 8}), (124, 64, {6}), (96, 124, {15})])
def test_border_sees_where_the_ring_differs(y, x, segments):
    differs = border(square((y, x, 4, (0, 0, 0)))) != border(square())
    assert set(np.flatnonzero(differs.reshape(16, 3).any(axis=1))) == segments


def test_border_of_one_colour_is_that_colour():
    np.testing.assert_allclose(border(square()).reshape(16, 3), [np.array(RED) / 255] * 16)


@pytest.mark.parametrize(
    ("colour", "share"), [((0, 0, 0), 0), ((255, 255, 255), 1), ((20, 180, 30), 2)]
)
def test_overlay_tells_a_box_in_a_corner_by_its_colour(colour, share):
    found = overlay(square((96, 0, 32, colour))).reshape(8, SHARES)
    corner = 2  # upper left, upper right, lower left, ...
    assert found[corner, share] == 1
    others = np.delete(found[:, :4], corner, axis=0)
    assert not others[:4].any()  # the regions of the middles overlap none of the corners


def test_overlay_tells_strokes_as_edges():
    pixels = square()
    pixels[:32, 0:32:4] = 255
    assert overlay(pixels).reshape(8, SHARES)[0, 4] > 0.4
    assert overlay(square()).reshape(8, SHARES)[:, 4].max() == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (640, 480)])
def test_any_size_has_an_appearance(size):
    seen = appearance(Image.new("RGB", size, RED))
    assert seen.contrasts == 0
    assert not seen.hash.any()
