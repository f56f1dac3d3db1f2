"""Decoding: from files to one array of equally sized RGB images."""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from PIL import Image, ImageOps
from tqdm import tqdm

from tl_hpo.data.table import ImageTable, check_counts
from tl_hpo.errors import UserError

log = logging.getLogger(__name__)

NAMED = 5  # unreadable files named in a message
# JPEG may be decoded at 1/2, 1/4 or 1/8 size while the result stays this many times larger than
# asked. At 3 the pixels differ by half a grey level at most on average from those of a full decode
# (colonoscopy images of 633 x 532 to 64 to 224 pixels); at 2 it is one level, at 1 three.
REDUCING_GAP = 3
# Names what `decode` does to pixels: raise its number when that changes. Decoders may change with
# the major version of Pillow.
TRANSFORM = f"1 bilinear reducing-gap-{REDUCING_GAP} pillow-{PIL.__version__.split('.')[0]}"
MAX_THREADS = 16
# Others are no images that anybody trains on, and for EPS Pillow starts Ghostscript.
FORMATS = (
    "AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip
LARGE = 1 << 24  # pixels; up to 20 bytes are needed for each, in every thread that decodes
TILE_WIDTH, TILE_LENGTH = 322, 323  # tags of TIFF

_one_at_a_time = threading.Lock()
# Pillow refuses twice as many as `MAX_IMAGE_PIXELS`; what it warns of is refused here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return one image as uint8 [H, W, 3]: upright, RGB, squashed to ``shape`` (H, W).

    Of an animation the first frame is taken; transparent pixels are black; 16 bits become 8.

    Raises:
        Exception: whatever Pillow raises on files that are damaged, too large or no images.

    """
    longer = REDUCING_GAP * max(shape)  # the EXIF orientation may swap the sides
    with opened(path) as image, reduced(image, longer):
        upright = as_rgb(ImageOps.exif_transpose(image))
    return squashed(upright, shape)


def squashed(image: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """Return an RGB image as uint8 [H, W, 3], whatever its own proportions."""
    height, width = shape
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[Image.Image]:
    """Open an image of any origin; nothing of it is decoded yet.

    Raises:
        DecompressionBombError: it has more pixels than `Image.MAX_IMAGE_PIXELS`.
        Exception: whatever Pillow raises on files that are damaged or no images.

    """
    with Image.open(source, formats=_known_formats()) as image:
        _check_pixels(image)
        yield image


@contextmanager
def reduced(image: Image.Image, side: int, mode: str | None = None) -> Iterator[None]:
    """Let a JPEG be decoded smaller within the block, with at least ``side`` pixels per side.

    What is large all the same is decoded by one thread at a time: the memory for one is enough.
    """
    image.draft(mode, (side, side))
    with _one_at_a_time if image.width * image.height > LARGE else nullcontext():
        yield


@cache
def _known_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_pixels(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    tags = getattr(image, "tag_v2", {})  # of TIFF, whose tiles are decoded whole
    tile = tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0)
    pixels = max(image.width * image.height, tile)
    if limit is not None and pixels > limit:
        raise Image.DecompressionBombError(f"{pixels:,} pixels are more than {limit:,}")


def as_rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as 8-bit RGB: transparent pixels are black, 16 bits become 8.

    Raises:
        ValueError: its pixels are 32-bit floats.

    """
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


def image_shape(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width of images of ``size``: pixels per side, or (height, width).

    Raises:
        UserError: a side is below 1.

    """
    height, width = (size, size) if isinstance(size, int) else (int(side) for side in size)
    if min(height, width) < 1:
        raise UserError(f"image_size must be at least 1, got {size}; set image_size=224, say.")
    return height, width


def decode_into(
    images: np.ndarray, paths: Sequence[Path], workers: int | None = None, progress: bool = True
) -> dict[int, str]:
    """Decode the images at ``paths`` into ``images``, in parallel.

    Args:
        images: uint8 [n, H, W, 3], written to; what is unreadable stays as it was.
        paths: of the images, [n].
        workers: decoding threads; as many as there are cores by default.
        progress: show a progress bar if the output is a terminal.

    Returns:
        The reason per index that could not be read, in order.

    """
    failures: dict[int, str] = {}
    fill = partial(_decode_one, images, failures, paths)
    in_threads(fill, range(len(paths)), "decoding", workers, progress)
    return dict(sorted(failures.items()))


def in_threads(
    work: Callable[[int], None],
    indices: Sequence[int],
    what: str,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Call ``work`` with every index of an image, in parallel: Pillow decodes without the GIL.

    Args:
        work: must not raise.
        indices: of the images, [n].
        what: is done, for the progress bar.
        workers: threads; as many as there are cores by default.
        progress: show a progress bar if the output is a terminal.

    """
    with ThreadPoolExecutor(workers or _threads()) as pool:
        # disable=None: silent when the output is no terminal
        for _ in tqdm(
            pool.map(work, indices),
            what,
            len(indices),
            unit="image",
            leave=False,
            disable=None if progress else True,
        ):
            pass


def readable(
    table: ImageTable, failures: Mapping[int, str], max_unreadable: float = 0.1
) -> ImageTable:
    """Return the part of ``table`` that could be read; warn, once per process, of what is lost.

    Args:
        table: the images, [n].
        failures: the reason per index that could not be read, in order.
        max_unreadable: greatest share of unreadable files that is accepted, in [0, 1].

    Raises:
        UserError: ``max_unreadable`` is no share; all files or more than that are unreadable; a
            class keeps fewer than two images.

    """
    _check_failures(table, failures, max_unreadable)
    if not failures:
        return check_counts(table)
    warn_once(
        "%d of %d files cannot be read and are left out: %s (the first: %s)",
        len(failures), len(table), _names(table, failures), next(iter(failures.values())),
    )  # fmt: skip
    return check_counts(table.subset([i for i in range(len(table)) if i not in failures]))


def _decode_one(
    images: np.ndarray, failures: dict[int, str], paths: Sequence[Path], index: int
) -> None:
    height, width = images.shape[1:3]
    try:
        images[index] = decode(paths[index], (height, width))
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        failures[index] = f"{type(error).__name__}: {error}"


_told: set[tuple[object, ...]] = set()


def warn_once(message: str, *details: object) -> None:
    """Warn, but not again in every trial of an experiment."""
    if details not in _told:
        _told.add(details)
        log.warning(message, *details)


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return min(MAX_THREADS, len(os.sched_getaffinity(0)))
    return min(MAX_THREADS, os.cpu_count() or 1)


def _check_failures(table: ImageTable, failures: Mapping[int, str], max_unreadable: float) -> None:
    number = isinstance(max_unreadable, int | float) and not isinstance(max_unreadable, bool)
    if not number or not 0 <= max_unreadable <= 1:
        raise UserError(
            f"dataset.max_unreadable must be a share from 0 to 1, got {max_unreadable!r}; "
            "set dataset.max_unreadable=0.1, say."
        )
    share = len(failures) / len(table)
    if share == 1 and all(reason.startswith("FileNotFoundError") for reason in failures.values()):
        raise UserError(
            f"dataset.root must be the folder that paths are relative to, but none of {len(table)} "
            f"listed files exists, such as {table.paths[0]}; set dataset.root=DIR."
        )
    if share == 1:
        raise UserError(
            f"dataset.root must hold images, but none of {len(table)} files in {table.root} can "
            f"be read as one ({_names(table, failures)}); point dataset.root at images (JPEG, "
            "PNG, TIFF, ...)."
        )
    if share > max_unreadable:
        raise UserError(
            f"at most a share of {max_unreadable:g} of the files may be unreadable, got "
            f"{share:.3f} ({len(failures)} of {len(table)}: {_names(table, failures)}); repair or "
            "remove them, or raise dataset.max_unreadable."
        )


def _names(table: ImageTable, failures: Mapping[int, str]) -> str:
    names = ", ".join(table.relative(index) for index in list(failures)[:NAMED])
    return names + (", ..." if len(failures) > NAMED else "")
