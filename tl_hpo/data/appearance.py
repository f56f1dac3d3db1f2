"""What an image looks like in a few numbers: a perceptual hash, its border, its overlays."""

from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
HASH_WORDS = HASH_BITS // 64
CONTRAST = 2  # grey levels from which neighbours differ by more than the noise of a JPEG

SIDE = 128  # of the square that border and overlays are looked for in
RING = 4  # its outermost pixels, 3 % of a side: what lies on it is seldom tissue
SEGMENTS = 4  # per side of the ring
BORDER = 4 * SEGMENTS * 3

PATCH = SIDE // 4
SHARES = 5  # near-black, near-white, green or blue, saturated, edges
OVERLAY = 8 * SHARES
BLACK, WHITE = 16, 224  # grey levels: darker than tissue in shadow, brighter than most reflections
COLOURED = 32  # levels of green or blue above red, which tissue has not
SATURATED = 160  # levels between the strongest and the weakest colour
EDGE = 32  # levels between neighbours: strokes of text and frames


@dataclass(frozen=True)
class Appearance:
    """What is measured of one image.

    Attributes:
        hash: ImageHash's ``dhash`` of 16 x 16 bits, uint64 [4], first bit lowest.
        contrasts: how many of its 256 comparisons tell a difference of at least two grey levels.
        border: mean red, green and blue of the segments of the outer ring, float32 [48], 0 to 1.
        overlay: shares of pixels in the four corners and at the middle of the four edges,
            float32 [40], 0 to 1.

    """

    hash: np.ndarray
    contrasts: int
    border: np.ndarray
    overlay: np.ndarray


def appearance(image: Image.Image) -> Appearance:
    """Return what an RGB image looks like, whatever its size."""
    # ImageHash would make the same thumbnail: made here, it also tells how much there is to see.
    size = (HASH_SIDE + 1, HASH_SIDE)
    thumbnail = image.convert("L").resize(size, Image.Resampling.LANCZOS)
    steps = np.diff(np.asarray(thumbnail, dtype=np.int16), axis=1)
    bits = imagehash.dhash(thumbnail, HASH_SIDE).hash
    square = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    return Appearance(
        hash=pack(bits.reshape(1, -1))[0],
        contrasts=int((np.abs(steps) >= CONTRAST).sum()),
        border=border(square),
        overlay=overlay(square),
    )


def pack(bits: np.ndarray) -> np.ndarray:
    """Return bool [n, 256] as uint64 [n, 4]."""
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def border(square: np.ndarray) -> np.ndarray:
    """Return the mean colours along the outer ring of uint8 [128, 128, 3]: float32 [48], 0 to 1."""
    sides = (
        square[:RING],
        square[-RING:],
        square[:, :RING].swapaxes(0, 1),
        square[:, -RING:].swapaxes(0, 1),
    )
    segments = np.stack(sides).reshape(4, RING, SEGMENTS, SIDE // SEGMENTS, 3)
    return (segments.mean(axis=(1, 3), dtype=np.float32) / 255).ravel()


def overlay(square: np.ndarray) -> np.ndarray:
    """Return what speaks for boxes and text at the edges of uint8 [128, 128, 3]: float32 [40].

    For each of eight regions of a quarter of the sides (four corners, the middles of the four
    edges): the shares of pixels that are nearly black, nearly white, more green or blue than red,
    strongly saturated, and on an edge.
    """
    red, green, blue = square.astype(np.int16).transpose(2, 0, 1)
    low, high = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    edges = np.zeros(high.shape, dtype=bool)
    edges[:, 1:] = np.abs(np.diff(high, axis=1)) > EDGE
    maps = np.stack(
        [
            high < BLACK,
            low > WHITE,
            np.maximum(green, blue) - red > COLOURED,
            high - low > SATURATED,
            edges,
        ]
    )
    ends, middle = (0, SIDE - PATCH), (SIDE - PATCH) // 2
    starts = [(y, x) for y in ends for x in ends]
    starts += [(y, middle) for y in ends] + [(middle, x) for x in ends]
    shares = [maps[:, y : y + PATCH, x : x + PATCH].mean(axis=(1, 2)) for y, x in starts]
    return np.concatenate(shares).astype(np.float32)
