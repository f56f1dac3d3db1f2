"""Decoded images on disk: made once per (files, size, transform), shared by all processes.

    <folder>/images/<key>/pixels.u8     the readable images, raw bytes, uint8 [m, H, W, 3]
    <folder>/images/<key>/meta.json     what `_Meta` says, and a seal over it
    <folder>/images/<key>.lock          held by the process that writes the entry

An entry is whole or absent and never changed in place, so reading one takes no lock.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tl_hpo.data.images import TRANSFORM, decode_into, image_shape, readable
from tl_hpo.data.table import ImageTable, check_counts
from tl_hpo.disk import FULL
from tl_hpo.errors import UserError
from tl_hpo.files import checksum, replacing, waiting_lock

log = logging.getLogger(__name__)

FORMAT = 1  # of the entries; raise it when their layout changes
PIXELS, META = "pixels.u8", "meta.json"
OPENED = 16  # entries that a process keeps open: more than an experiment has input sizes
CHUNK = 1 << 20
NOT_WRITABLE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP,  # the last three: file systems without flock
}  # fmt: skip


@dataclass(frozen=True)
class DecodedImages:
    """The readable images of a dataset, decoded.

    Attributes:
        table: the m readable images.
        pixels: uint8 [m, H, W, 3], RGB, memory-mapped copy-on-write and shared by all calls of
            the process: do not write to it.
        checksum: of the bytes of ``pixels`` and of nothing else.

    """

    table: ImageTable
    pixels: np.ndarray
    checksum: str


class DecodedStore:
    """Decoded images in ``folder``, which any number of processes may use at once.

    Args:
        folder: where entries are kept; made when the first one is written.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder)) / "images"

    def images(
        self,
        table: ImageTable,
        size: int | tuple[int, int],
        *,
        workers: int | None = None,
        progress: bool = True,
        max_unreadable: float = 0.1,
    ) -> DecodedImages:
        """Return the images of ``table`` resized to ``size``, whatever their aspect ratio.

        They are decoded where the store lacks them, where a file has changed since, and where
        what is stored is damaged.

        Args:
            table: the images, [n].
            size: pixels per side, or (height, width).
            workers: decoding threads; as many as there are cores by default.
            progress: show a progress bar if the output is a terminal.
            max_unreadable: greatest share of unreadable files that is accepted, in [0, 1].

        Raises:
            UserError: the size is below 1; all files or more than ``max_unreadable`` are
                unreadable; a class keeps fewer than two images; the folder cannot be written or
                has no room.

        """
        shape = image_shape(size)
        check_counts(table)
        place = self.folder / _key(table.paths, shape)
        decode = partial(decode_into, paths=table.paths, workers=workers, progress=progress)
        entry = _find_or_build(place, table.paths, shape, decode)
        kept = readable(table, entry.meta.failures, max_unreadable)
        return DecodedImages(kept, entry.pixels, entry.meta.checksum)


@dataclass(frozen=True)
class KnownFile:
    """A listed file as it was before it was read; -1 where there was none."""

    path: str
    size: int
    mtime_ns: int
    unreadable: str | None = None  # the reason

    @classmethod
    def of(cls, path: Path) -> "KnownFile":
        """Return what the file at ``path`` is now."""
        try:
            status = path.stat()
        except OSError:
            return cls(str(path), -1, -1)
        return cls(str(path), status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class _Meta:
    """What is known of an entry: ``shape`` [m, H, W, 3] of its pixels, the n listed files."""

    shape: tuple[int, int, int, int]
    checksum: str
    files: tuple[KnownFile, ...]

    @property
    def failures(self) -> dict[int, str]:
        """The reason per index of an unreadable file."""
        return {i: file.unreadable for i, file in enumerate(self.files) if file.unreadable}


@dataclass(frozen=True)
class _Entry:
    """An entry whose checksum this process has verified; ``identity`` is that of its pixels."""

    identity: tuple[int, int, int]
    meta: _Meta
    pixels: np.ndarray


class _UnfitError(Exception):
    """An entry that cannot be used: why, and at which level that is worth telling."""

    def __init__(self, reason: str, level: int = logging.WARNING) -> None:
        super().__init__(reason)
        self.level = level


# Decodes all images into uint8 [n, H, W, 3] and returns the reason per index it could not read.
Decode = Callable[[np.ndarray], dict[int, str]]

_opened: OrderedDict[Path, _Entry] = OrderedDict()


def _key(paths: Sequence[Path], shape: tuple[int, int]) -> str:
    """Return the name of the entry; what the files hold is in meta.json, so that it may change."""
    listed = json.dumps([TRANSFORM, shape, [str(path) for path in paths]])
    return f"{shape[0]}x{shape[1]}-{_digest(listed.encode())[:16]}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _find_or_build(
    place: Path, paths: Sequence[Path], shape: tuple[int, int], decode: Decode
) -> _Entry:
    with suppress(_UnfitError):
        return _find(place, paths)
    needed = len(paths) * shape[0] * shape[1] * 3
    with _explained(place.parent, needed), waiting_lock(place.with_name(f"{place.name}.lock")):
        try:
            return _find(place, paths)  # another process may have built it meanwhile
        except _UnfitError as unfit:
            log.log(unfit.level, "%s: the decoded images are %s; decoding again", place, unfit)
        return _load(place, _build(place, paths, shape, decode))


def _find(place: Path, paths: Sequence[Path]) -> _Entry:
    """Return the entry at ``place``, verified once per process.

    Raises:
        _UnfitError: it is absent, outdated or damaged.
    """
    entry = _opened.get(place)
    if entry is not None and entry.identity == _identity(place / PIXELS):
        _check_unchanged(entry.meta, paths)
        _opened.move_to_end(place)
        return entry
    if not os.path.isdir(place):
        raise _UnfitError("absent", logging.DEBUG)
    meta = _read_meta(place / META)
    _check_unchanged(meta, paths)
    _check_still_unreadable(meta)
    return _load(place, meta)


def _load(place: Path, meta: _Meta) -> _Entry:
    """Map the pixels of an entry if they are those that ``meta`` tells, and keep it open."""
    try:
        file = (place / PIXELS).open("rb")
    except OSError as error:
        raise _UnfitError(f"damaged ({PIXELS} cannot be read: {error})") from error
    with file:
        _check_pixels(file, meta)
        # Of the open file: the one at its path may be another by now.
        identity = _identity(file.fileno())
        entry = _opened[place] = _Entry(identity, meta, _mapped(file, meta.shape, "c"))
    _opened.move_to_end(place)
    while len(_opened) > OPENED:
        _opened.popitem(last=False)
    return entry


def _identity(file: Path | int) -> tuple[int, int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return -1, -1, -1
    return status.st_ino, status.st_mtime_ns, status.st_size


def _mapped(file: BufferedIOBase, shape: tuple[int, ...], mode: Literal["r+", "c"]) -> np.ndarray:
    if not shape[0]:  # not one image is readable, and no empty file can be mapped
        return np.empty(shape, dtype=np.uint8)
    return np.memmap(file, dtype=np.uint8, mode=mode, shape=shape)


def _check_unchanged(meta: _Meta, paths: Sequence[Path]) -> None:
    for known, path in zip(meta.files, paths, strict=True):
        now = KnownFile.of(path)
        if (known.path, known.size, known.mtime_ns) != (now.path, now.size, now.mtime_ns):
            raise _UnfitError(f"outdated ({path} has changed)", logging.INFO)


def _check_still_unreadable(meta: _Meta) -> None:
    """Try unreadable files again: a permission given, say, shows in neither size nor mtime."""
    paths = [Path(file.path) for file in meta.files if file.unreadable]
    scratch = np.empty((len(paths), *meta.shape[1:]), dtype=np.uint8)
    failures = decode_into(scratch, paths, progress=False)
    for index, path in enumerate(paths):
        if index not in failures:
            raise _UnfitError(f"outdated ({path} can be read now)", logging.INFO)


def _check_pixels(file: BufferedIOBase, meta: _Meta) -> None:
    size, expected = os.stat(file.fileno()).st_size, int(np.prod(meta.shape))
    if size != expected:
        raise _UnfitError(f"damaged ({PIXELS} must have {expected} bytes, got {size})")
    if checksum(file) != meta.checksum:
        raise _UnfitError(f"damaged ({PIXELS} differs from its checksum)")


def _read_meta(path: Path) -> _Meta:
    try:
        body = json.loads(path.read_bytes())
        seal = body.pop("seal")
        version = body["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _UnfitError(f"damaged ({META} cannot be read: {error!r})") from error
    if version != FORMAT:
        raise _UnfitError(f"damaged ({META} must be of format {FORMAT}, got {version!r})")
    if seal != _seal(body):
        raise _UnfitError(f"damaged ({META} differs from its seal)")
    files = tuple(KnownFile(**file) for file in body["files"])
    return _Meta(tuple(body["shape"]), body["checksum"], files)


def _write_meta(path: Path, meta: _Meta) -> None:
    body = {"format": FORMAT, "transform": TRANSFORM, **asdict(meta)}
    # ASCII, so that paths that are not UTF-8 survive.
    path.write_text(json.dumps({"seal": _seal(body), **body}, indent=1), encoding="ascii")


def _seal(body: Mapping[str, Any]) -> str:
    """Return what tells that not a letter of meta.json has changed."""
    return _digest(json.dumps(body, sort_keys=True).encode())


def _build(place: Path, paths: Sequence[Path], shape: tuple[int, int], decode: Decode) -> _Meta:
    """Decode the images at ``paths`` into a new entry; the caller holds its lock."""
    for leftover in place.parent.glob(f".{place.name}.*.tmp"):  # of killed processes
        shutil.rmtree(leftover, ignore_errors=True)
    files = [KnownFile.of(path) for path in paths]  # first: a change while decoding shows next time
    with replacing(place) as temporary:
        temporary.mkdir()
        with (temporary / PIXELS).open("w+b") as file:
            failures = _fill(file, (len(paths), *shape, 3), decode)
            kept = (len(paths) - len(failures), *shape, 3)
            marked = (replace(f, unreadable=failures.get(i)) for i, f in enumerate(files))
            meta = _Meta(kept, checksum(file), tuple(marked))
        _write_meta(temporary / META, meta)
    return meta


def _fill(file: BufferedIOBase, shape: tuple[int, int, int, int], decode: Decode) -> dict[int, str]:
    """Write the readable images to ``file``, one after the other; say why the others are not."""
    row = shape[1] * shape[2] * shape[3]
    _reserve(file, shape[0] * row)
    pixels = _mapped(file, shape, "r+")
    failures = decode(pixels)
    kept = [index for index in range(shape[0]) if index not in failures]
    for target, source in enumerate(kept):
        if target != source:
            pixels[target] = pixels[source]
    del pixels  # unmapped before the file becomes shorter
    file.truncate(len(kept) * row)
    return failures


def _reserve(file: BufferedIOBase, size: int) -> None:
    """Claim the bytes on disk: on a full one, writing to a mapped hole would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, CHUNK):  # macOS
        file.write(bytes(min(CHUNK, size - start)))
    file.flush()


@contextmanager
def _explained(folder: Path, needed: int) -> Iterator[None]:
    """Tell what the user can mend as a `UserError`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UserError(
                f"store.dir must have room for the decoded images, {needed:,} bytes, but "
                f"{folder} has not ({error.strerror}); free space there or set store.dir=OTHER."
            ) from error
        if error.errno in NOT_WRITABLE:
            raise UserError(
                f"store.dir must be a folder that can be written, got {folder} "
                f"({error.strerror}); change its permissions or set store.dir=OTHER."
            ) from error
        raise
