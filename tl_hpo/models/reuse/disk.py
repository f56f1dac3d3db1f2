"""Where what crosses cuts is kept on disk: whole entries that several experiments may share."""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from tl_hpo.files import checksum, replacing, waiting_lock, write_json
from tl_hpo.models.reuse.passes import TensorSpec
from tl_hpo.models.reuse.rooms import Activations, Key, bytes_of, logical

logger = logging.getLogger(__name__)

META_FILE = "meta.json"
_FORMAT = 1


class DiskRoom:
    """Keeps activations in files, for this process and others that share the folder.

    An entry is a folder that appears under its name when it is whole. What was used longest ago
    gives way first; whoever has it mapped keeps reading it.

    Args:
        folder: of all entries.
        budget: bytes.

    """

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self.budget = budget
        self._opened: dict[Key, Activations] = {}
        self._rate: float | None = None

    @property
    def rate(self) -> float:
        """Bytes per second, measured by writing once."""
        if self._rate is None:
            self._rate = disk_rate(self.folder) if self.budget else 1.0
        return self._rate

    def find(self, key: Key) -> Activations | None:
        """Return what is kept under ``key``; damaged entries are removed, with a warning."""
        path = self.folder / str(key)
        if key not in self._opened:
            found = _open_entry(path)
            if found is None:
                return None
            self._opened[key] = found
        if not (path / META_FILE).exists():  # it gave way to another experiment's
            del self._opened[key]
            return None
        with suppress(OSError):  # it may be another user's, or have given way just now
            os.utime(path / META_FILE)
        return self._opened[key]

    def cuts(self, work: str) -> list[int]:
        """Return the cuts that are kept of ``work``, if they can be read."""
        names = [path.name.rpartition("-")[2] for path in self.folder.glob(f"{work}-*")]
        cuts = [int(name) for name in names if name.isdigit()]
        return [cut for cut in cuts if self.find(Key(work, cut))]

    def _entries(self) -> list[tuple[float, int, float, Path]]:
        """Return last use, bytes, seconds of making and path of every entry, oldest first."""
        found = []
        for meta in self.folder.glob(f"*/{META_FILE}"):
            with suppress(OSError, ValueError, KeyError, TypeError):  # damaged: found when opened
                described = json.loads(meta.read_text())
                size = int(described["bytes"])
                found.append((meta.stat().st_mtime, size, float(described["making"]), meta.parent))
        return sorted(found)

    def free(self) -> int:
        """Return the bytes that can be kept without losing anything."""
        return self.budget - sum(size for _, size, _, _ in self._entries())

    def regret(self, size: int, protected: Collection[Key]) -> float:
        """Return the seconds to make again what gives way to ``size`` bytes; inf: no room."""
        leaving = self._leaving(size, protected)
        return float("inf") if leaving is None else sum(making for _, _, making, _ in leaving)

    def make_room(self, size: int, protected: Collection[Key]) -> None:
        """Remove what gives way to ``size`` bytes; whoever has it mapped keeps reading it."""
        leaving = {entry[3] for entry in self._leaving(size, protected) or ()}
        # What this process maps itself would go on taking its space.
        for key in [key for key in self._opened if self.folder / str(key) in leaving]:
            del self._opened[key]
        for path in leaving:
            shutil.rmtree(path, ignore_errors=True)

    def _leaving(
        self, size: int, protected: Collection[Key]
    ) -> list[tuple[float, int, float, Path]] | None:
        entries = self._entries()
        lacking = size - self.budget + sum(entry[1] for entry in entries)
        names = {str(key) for key in protected}
        leaving = []
        for entry in entries:
            if lacking > 0 and entry[3].name not in names:
                leaving.append(entry)
                lacking -= entry[1]
        return leaving if lacking <= 0 else None

    @contextmanager
    def making(
        self,
        key: Key,
        specs: Sequence[TensorSpec],
        length: int,
        seconds: float,
    ) -> Iterator[list[Tensor]]:
        """Yield tensors [length, *stored_shape] to fill; they are kept when the block succeeds.

        Raises:
            OSError: no space on the disk, or the folder cannot be written.

        """
        path = self.folder / str(key)
        with waiting_lock(self.folder / f"{key}.lock"):
            for leftover in self.folder.glob(f".{path.name}.*.tmp"):  # of killed processes
                shutil.rmtree(leftover, ignore_errors=True)
            with replacing(path) as temporary:
                temporary.mkdir(parents=True)
                yield _map(temporary, specs, length, reserve=True)
                write_json(temporary / META_FILE, _describe(temporary, specs, length, seconds))
            mapped = _map(path, specs, length, reserve=False)
        self._opened[key] = Activations(logical(mapped, specs), seconds)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number}.bin"


def _map(folder: Path, specs: Sequence[TensorSpec], length: int, *, reserve: bool) -> list[Tensor]:
    return [
        _mapped(_file(folder, number), spec, length, reserve=reserve)
        for number, spec in enumerate(specs)
    ]


def _mapped(path: Path, spec: TensorSpec, length: int, *, reserve: bool) -> Tensor:
    count = length * spec.bytes // spec.dtype.itemsize
    if reserve:
        # Reserved first: a disk that fills up under a mapped file would kill the process.
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, length * spec.bytes)
    # Reading maps privately: nothing that is done to the tensor reaches the file.
    flat = torch.from_file(str(path), shared=reserve, size=count, dtype=spec.dtype)
    return flat.view(length, *spec.stored_shape)


def _describe(
    folder: Path, specs: Sequence[TensorSpec], length: int, seconds: float
) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "length": length,
        "bytes": bytes_of(specs, length),
        "making": seconds,
        "tensors": [
            {
                "shape": list(spec.shape),
                "dtype": str(spec.dtype).removeprefix("torch."),
                "channels_last": spec.channels_last,
                "checksum": checksum(_file(folder, number)),
            }
            for number, spec in enumerate(specs)
        ],
    }


def _open_entry(path: Path) -> Activations | None:
    """Map the files of an entry, if there is one and it is as it was written."""
    if not (path / META_FILE).exists():
        return None
    try:
        described = json.loads((path / META_FILE).read_text())
        if described["format"] != _FORMAT:
            raise ValueError(f"format {described['format']}")
        specs = [
            TensorSpec(tuple(each["shape"]), getattr(torch, each["dtype"]), each["channels_last"])
            for each in described["tensors"]
        ]
        for number, each in enumerate(described["tensors"]):
            if checksum(_file(path, number)) != each["checksum"]:
                raise ValueError("its checksum differs")
        tensors = _map(path, specs, described["length"], reserve=False)
        return Activations(logical(tensors, specs), float(described["making"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        logger.warning("The activations in %s are damaged (%s) and made again", path, error)
        shutil.rmtree(path, ignore_errors=True)
        return None


def disk_rate(folder: Path, size: int = 1 << 24) -> float:
    """Return the bytes per second that the disk of ``folder`` takes; next to none if it fails."""
    block = os.urandom(size)  # some disks compress
    try:
        with replacing(folder / "rate") as temporary, temporary.open("wb") as file:
            began = time.perf_counter()
            file.write(block)
            os.fsync(file.fileno())
            seconds = time.perf_counter() - began
        (folder / "rate").unlink(missing_ok=True)
    except OSError as error:
        logger.debug("no rate of %s: %s", folder, errno.errorcode.get(error.errno or 0))
        return 1.0
    return size / max(seconds, 1e-9)
