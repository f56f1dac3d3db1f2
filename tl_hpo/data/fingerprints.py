"""What every image of a dataset looks like in a few numbers, read once and kept on disk.

<folder>/fingerprints/<key>.npz     arrays, whole or absent; zip keeps a checksum of each
<folder>/fingerprints/<key>.lock    held by the process that writes the entry
"""

import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

from tl_hpo.data.appearance import BORDER, HASH_WORDS, OVERLAY, appearance
from tl_hpo.data.images import as_rgb, in_threads, opened, reduced, warn_once
from tl_hpo.data.store import KnownFile
from tl_hpo.data.table import ImageTable
from tl_hpo.files import checksum, replacing, waiting_lock

log = logging.getLogger(__name__)

DRAFT = 256  # pixels per side from which a JPEG may be decoded smaller: a third of the time
DIGEST = 32  # hex digits of a content hash
# Part of the key: raise the first number when what is measured changes.
VERSION = f"1 pillow-{PIL.__version__.split('.')[0]} imagehash-{version('imagehash').split('.')[0]}"
DAMAGED = (OSError, EOFError, KeyError, ValueError, zlib.error, zipfile.BadZipFile)
EXIF_ORIENTATION = 0x0112
SIDEWAYS = {5, 6, 7, 8}  # orientations that swap height and width


@dataclass(frozen=True)
class Fingerprints:
    """What n images look like; files that are no images have zeros.

    Attributes:
        content: BLAKE2b of the bytes of each file, 32 hex digits, [n]; empty where there is none.
        hashes: perceptual hash, uint64 [n, 4].
        contrasts: how many of the 256 comparisons of that hash tell more than noise, int64 [n].
        sizes: height and width of each image, upright, int64 [n, 2].
        border: colours along the outer ring, float32 [n, 48], 0 to 1.
        overlay: what speaks for boxes and text at the edges, float32 [n, 40], 0 to 1.
        readable: whether the file could be read as an image, bool [n].

    """

    content: tuple[str, ...]
    hashes: np.ndarray
    contrasts: np.ndarray
    sizes: np.ndarray
    border: np.ndarray
    overlay: np.ndarray
    readable: np.ndarray

    def __len__(self) -> int:
        return len(self.content)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Fingerprints":
        """Return those of the images at ``indices``, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        arrays = {name: getattr(self, name)[chosen] for name in _ARRAYS}
        return Fingerprints(tuple(self.content[index] for index in chosen), **arrays)


_ARRAYS = tuple(field.name for field in fields(Fingerprints) if field.name != "content")


class FingerprintStore:
    """Fingerprints in ``folder``, which any number of processes may use at once.

    Args:
        folder: where entries are kept; made when the first one is written. Where it cannot be
            written or is full, images are read again next time.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder)) / "fingerprints"

    def fingerprints(self, table: ImageTable, progress: bool = True) -> Fingerprints:
        """Return the fingerprints of the images of ``table``, [n].

        A file is read where the store lacks it, where its size or time of change is another by
        now, and where it could not be read as an image last time.

        Args:
            table: the images, [n].
            progress: show a progress bar if the output is a terminal.

        """
        place = self.folder / f"{_key(table.paths)}.npz"
        files = _states(table.paths)  # first: a change while reading shows next time
        entry = _read(place, len(table))
        if not len(_stale(entry, files)):
            return _frozen(entry)
        with _held(place):
            entry = _read(place, len(table))  # another process may have written it meanwhile
            if _refresh(entry, table.paths, files, progress):
                _write(place, entry)
        return _frozen(entry)


Entry = dict[str, np.ndarray]


def _key(paths: Sequence[Path]) -> str:
    listed = json.dumps([VERSION, [str(path) for path in paths]])
    return hashlib.blake2b(listed.encode(), digest_size=8).hexdigest()


def _states(paths: Sequence[Path]) -> np.ndarray:
    """Return size and time of change of each file, int64 [n, 2]; -1 where there is none."""
    known = (KnownFile.of(path) for path in paths)
    return np.array([(file.size, file.mtime_ns) for file in known], dtype=np.int64).reshape(-1, 2)


def _empty(n: int) -> Entry:
    return {
        "files": np.full((n, 2), -2, dtype=np.int64),  # as no file is
        "content": np.zeros(n, dtype=f"S{DIGEST}"),
        "hashes": np.zeros((n, HASH_WORDS), dtype=np.uint64),
        "contrasts": np.zeros(n, dtype=np.int64),
        "sizes": np.zeros((n, 2), dtype=np.int64),
        "border": np.zeros((n, BORDER), dtype=np.float32),
        "overlay": np.zeros((n, OVERLAY), dtype=np.float32),
        "readable": np.zeros(n, dtype=bool),
    }


def _read(place: Path, n: int) -> Entry:
    """Return the entry at ``place``, an empty one where it is absent or damaged."""
    entry = _empty(n)
    try:
        with np.load(place, allow_pickle=False) as stored:
            found = {name: stored[name] for name in entry}
        for name, array in found.items():
            if (array.shape, array.dtype) != (entry[name].shape, entry[name].dtype):
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
    except FileNotFoundError:
        return entry
    except DAMAGED as error:
        log.warning("%s: the fingerprints are damaged (%s); reading the images again", place, error)
        return entry
    return found


def _stale(entry: Entry, files: np.ndarray) -> np.ndarray:
    # Unreadable files are tried again: a permission given shows in neither size nor mtime.
    return np.flatnonzero((entry["files"] != files).any(axis=1) | ~entry["readable"])


def _refresh(entry: Entry, paths: Sequence[Path], files: np.ndarray, progress: bool) -> bool:
    """Read the files that have changed into ``entry`` and tell whether it is another by that."""
    stale = _stale(entry, files)
    before = {name: array[stale] for name, array in entry.items()}
    for name, blank in _empty(len(stale)).items():
        entry[name][stale] = blank
    entry["files"][:] = files
    in_threads(partial(_measure, entry, paths), stale.tolist(), "fingerprints", None, progress)
    return any(not np.array_equal(entry[name][stale], array) for name, array in before.items())


def _measure(entry: Entry, paths: Sequence[Path], index: int) -> None:
    """Read one file into its row of ``entry``; the row stays blank where that fails."""
    try:
        with paths[index].open("rb") as file:
            entry["content"][index] = checksum(file)
            file.seek(0)
            with opened(file) as image:
                height, width = _upright_size(image)
                with reduced(image, DRAFT):
                    seen = appearance(as_rgb(ImageOps.exif_transpose(image)))
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        log.debug("%s has no fingerprint: %s: %s", paths[index], type(error).__name__, error)
        return
    entry["sizes"][index] = height, width
    entry["hashes"][index] = seen.hash
    entry["contrasts"][index] = seen.contrasts
    entry["border"][index] = seen.border
    entry["overlay"][index] = seen.overlay
    entry["readable"][index] = True


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS:
        return image.width, image.height
    return image.height, image.width


def _frozen(entry: Entry) -> Fingerprints:
    content = tuple(digest.decode() for digest in entry["content"].tolist())
    return Fingerprints(content, **{name: entry[name] for name in _ARRAYS})


@contextmanager
def _held(place: Path) -> Iterator[None]:
    """Hold the lock of an entry for the block, where there can be one."""
    lock = waiting_lock(place.with_suffix(".lock"))
    try:
        lock.__enter__()
    except OSError as error:
        _tell_uncached(place, error)
        yield
        return
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _write(place: Path, entry: Entry) -> None:
    try:
        for leftover in place.parent.glob(f".{place.name}.*.tmp"):  # of killed processes
            leftover.unlink(missing_ok=True)
        with replacing(place) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **entry)
    except OSError as error:
        _tell_uncached(place, error)


def _tell_uncached(place: Path, error: OSError) -> None:
    reason = error.strerror or type(error).__name__
    warn_once(
        "store.dir cannot keep the fingerprints of the images, got %s (%s): they are read again "
        "next time; set store.dir=OTHER to avoid that",
        place.parent,
        reason,
    )
