"""Decoding: from files to one array of equally sized RGB images."""

import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from tl_hpo.data.table import ImageTable, check_counts
from tl_hpo.errors import UserError

log = logging.getLogger(__name__)

NAMED = 5  # unreadable files named in a message
CACHED = 2  # sets of decoded images kept by `cached_images`
# JPEG may be decoded at 1/2, 1/4 or 1/8 size while the result stays this many times larger than
# asked. At 3 the pixels differ by half a grey level at most on average from those of a full decode
# (colonoscopy images of 633 x 532 to 64 to 224 pixels); at 2 it is one level, at 1 three.
REDUCING_GAP = 3
MAX_THREADS = 16


class Decoded(NamedTuple):
    """Images uint8 [n, H, W, 3]; reason per index that could not be read (its pixels are 0)."""

    images: np.ndarray
    failures: dict[int, str]


_cache: OrderedDict[tuple, Decoded] = OrderedDict()


def load_images(
    table: ImageTable,
    size: int | tuple[int, int],
    workers: int | None = None,
    progress: bool = True,
    max_unreadable: float = 0.1,
) -> tuple[ImageTable, np.ndarray]:
    """Decode all images of ``table`` and resize them to ``size``, whatever their aspect ratio.

    Args:
        table: the images, [n].
        size: pixels per side, or (height, width).
        workers: decoding threads; as many as there are cores by default.
        progress: show a progress bar if the output is a terminal.
        max_unreadable: greatest share of unreadable files that is accepted, in [0, 1].

    Returns:
        The table of the m readable images, and these as uint8 [m, H, W, 3] (RGB).

    Raises:
        UserError: the size is below 1; all files or more than ``max_unreadable`` are unreadable; a
            class keeps fewer than two images.

    """
    shape = _shape(size)
    decoded = _decode_all(table.paths, shape, workers, progress)
    return _readable(table, decoded, max_unreadable)


def cached_images(
    table: ImageTable,
    size: int | tuple[int, int],
    workers: int | None = None,
    progress: bool = True,
    max_unreadable: float = 0.1,
) -> tuple[ImageTable, np.ndarray]:
    """Do as `load_images`, without decoding again what this process decoded recently.

    The last two sets are kept, known by paths, file sizes, modification times and image size. The
    array is shared between calls: do not write to it.
    """
    shape = _shape(size)
    key = (shape, tuple(_fingerprint(path) for path in table.paths))
    if key not in _cache:
        _cache[key] = _decode_all(table.paths, shape, workers, progress)
    _cache.move_to_end(key)
    while len(_cache) > CACHED:
        _cache.popitem(last=False)
    return _readable(table, _cache[key], max_unreadable)


def decode(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return one image as uint8 [H, W, 3]: upright, RGB, squashed to ``shape`` (H, W).

    Of an animation the first frame is taken; transparent pixels are black; 16 bits become 8.

    Raises:
        Exception: whatever Pillow raises on files that are damaged, too large or no images.

    """
    height, width = shape
    with Image.open(path) as image:
        longer = REDUCING_GAP * max(height, width)  # the EXIF orientation may swap the sides
        image.draft(None, (longer, longer))
        rgb = _rgb(ImageOps.exif_transpose(image))
    return np.asarray(rgb.resize((width, height), Image.Resampling.BILINEAR))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no known range")
    if image.mode.startswith("I"):
        # Pillow would clip 16 bits to 255 instead of scaling them.
        values = np.clip(np.asarray(image, dtype=np.float32) / 257, 0, 255)
        image = Image.fromarray((values + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("RGB")


def _shape(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else (int(side) for side in size)
    if min(height, width) < 1:
        raise UserError(f"image_size must be at least 1, got {size}; set image_size=224, say.")
    return height, width


def _fingerprint(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), status.st_size, status.st_mtime_ns


def _decode_all(
    paths: Sequence[Path], shape: tuple[int, int], workers: int | None, progress: bool
) -> Decoded:
    images = np.zeros((len(paths), *shape, 3), dtype=np.uint8)
    failures: dict[int, str] = {}
    fill = partial(_decode_into, images, failures, paths, shape)
    with ThreadPoolExecutor(workers or _threads()) as pool:
        done = pool.map(fill, range(len(paths)))
        # disable=None: silent when the output is no terminal
        bar = tqdm(
            done,
            "decoding",
            len(paths),
            unit="image",
            leave=False,
            disable=None if progress else True,
        )
        for _ in bar:
            pass
    return Decoded(images, dict(sorted(failures.items())))


def _decode_into(
    images: np.ndarray,
    failures: dict[int, str],
    paths: Sequence[Path],
    shape: tuple[int, int],
    index: int,
) -> None:
    try:
        images[index] = decode(paths[index], shape)
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        failures[index] = f"{type(error).__name__}: {error}"


_told: set[tuple[object, ...]] = set()


def _warn_once(message: str, *details: object) -> None:
    """Warn, but not again in every trial of an experiment."""
    if details not in _told:
        _told.add(details)
        log.warning(message, *details)


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return min(MAX_THREADS, len(os.sched_getaffinity(0)))
    return min(MAX_THREADS, os.cpu_count() or 1)


def _readable(
    table: ImageTable, decoded: Decoded, max_unreadable: float
) -> tuple[ImageTable, np.ndarray]:
    """Return the readable part of ``table`` and of its images, or refuse; name what is lost."""
    if not 0 <= max_unreadable <= 1:
        raise UserError(
            f"dataset.max_unreadable must be a share from 0 to 1, got {max_unreadable}; "
            "set dataset.max_unreadable=0.1, say."
        )
    images, failures = decoded
    if not failures:
        return check_counts(table), images
    names = ", ".join(table.relative(index) for index in list(failures)[:NAMED])
    names += ", ..." if len(failures) > NAMED else ""
    share = len(failures) / len(table)
    if share == 1:
        raise UserError(
            f"dataset.root must hold images, but none of {len(table)} files in {table.root} can "
            f"be read as one ({names}); point dataset.root at images (JPEG, PNG, TIFF, ...)."
        )
    if share > max_unreadable:
        raise UserError(
            f"at most a share of {max_unreadable:g} of the files may be unreadable, got "
            f"{share:.3f} ({len(failures)} of {len(table)}: {names}); repair or remove them, or "
            "raise dataset.max_unreadable."
        )
    first = next(iter(failures.values()))
    _warn_once(
        "%d of %d files cannot be read and are left out: %s (the first: %s)",
        len(failures), len(table), names, first,
    )  # fmt: skip
    kept = np.array([index for index in range(len(table)) if index not in failures])
    return check_counts(table.subset(kept)), images[kept]
