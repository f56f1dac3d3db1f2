"""Unpacking archives of strangers: nothing outside the folder, no links, no more than it says."""

import errno
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

CHUNK = 1 << 20
MAX_ENTRIES = 1_000_000  # files and folders, ten times what a published dataset has
ENCRYPTED = 0x1  # bit of the general purpose flags
# What zipfile raises on damaged archives; ValueError: on names that claim to be UTF-8 and are not.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError,
    struct.error,
)  # fmt: skip
# A place before the beginning of the archive, a name that no file can have.
IMPOSSIBLE = {errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ}
# Of the others, zipfile unpacks a chunk as a whole, however much memory that takes.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveError(Exception):
    """An archive that is damaged or that must not be unpacked; the message names the member."""


class NoRoomError(Exception):
    """The disk has no room; ``needed`` and ``free`` bytes."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(f"{needed:,} bytes are needed, {free:,} are free")


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack the zip file ``archive`` into the new folder ``folder``.

    All members are checked before the first is written, each member's CRC after it was.

    Args:
        archive: of any origin.
        folder: made here; what is in it when an error is raised is for the caller to remove.
        max_bytes: that all members together may have.

    Raises:
        ArchiveError: a member outside the folder, a link, one twice, an encrypted one, more than
            ``max_bytes`` or `MAX_ENTRIES`, more or fewer bytes than a header says, a wrong CRC,
            no zip file.
        NoRoomError: the disk has no room for all members.
        OSError: the folder cannot be written.

    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _check(members, max_bytes)
            folder.mkdir()
            require_room(folder, sum(member.file_size for member in members))
            for member in members:
                _extract(opened, member, folder)
    except DAMAGED as error:
        raise ArchiveError(f"it is damaged ({error})") from error


def require_room(folder: Path, needed: int) -> None:
    """Check the disk of ``folder`` for ``needed`` bytes.

    Raises:
        NoRoomError: fewer are free.

    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoRoomError(needed, free)


def _check(members: Sequence[zipfile.ZipInfo], max_bytes: int) -> None:
    seen: set[PurePosixPath] = set()
    total = entries = 0
    for member in members:
        # The name as it is stored: ZipInfo cuts `filename` at a NUL.
        name = member.orig_filename
        reason = _fault(member)
        if reason:
            raise ArchiveError(f"its member {name!r} {reason}")
        path = PurePosixPath(name)
        if path in seen and not member.is_dir():
            raise ArchiveError(f"its member {name!r} comes twice")
        seen.add(path)
        entries += len(path.parts)  # a member may want folders of its own
        if entries > MAX_ENTRIES:
            raise ArchiveError(
                f"up to its member {name[:80]!r} it would make {entries:,} files and folders, "
                f"more than {MAX_ENTRIES:,}"
            )
        total += member.file_size
        if total > max_bytes:
            raise ArchiveError(
                f"up to its member {name!r} it would unpack to {total:,} bytes, more than the "
                f"{max_bytes:,} that this dataset may have"
            )


def _fault(member: zipfile.ZipInfo) -> str | None:
    """Return what forbids a member, or None."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    if not name or "\0" in name or "\\" in name:
        return "has a name with forbidden signs"
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return "has an absolute path"
    if ".." in name.split("/"):
        return "leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in METHODS:
        return "is compressed by another method than deflate"
    return None


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    try:
        written = _write(opened, member, folder)
    except DAMAGED as error:
        raise ArchiveError(f"its member {member.filename!r} is damaged ({error})") from error
    except (FileExistsError, NotADirectoryError) as error:
        # As on file systems that do not tell upper and lower case apart.
        raise ArchiveError(f"its member {member.filename!r} takes the place of another") from error
    except OSError as error:
        if error.errno not in IMPOSSIBLE:
            raise
        raise ArchiveError(f"its member {member.filename!r} is damaged ({error})") from error
    if written != member.file_size:
        raise ArchiveError(
            f"its member {member.filename!r} has not the {member.file_size:,} bytes that its "
            "header says"
        )


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> int:
    """Write one member and return its number of bytes."""
    target = folder / PurePosixPath(member.filename)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, target.open("xb") as file:
        # zipfile hands out no more than the header says, and fails where its CRC is another's.
        shutil.copyfileobj(source, file, CHUNK)
        return file.tell()
