"""Published datasets that are absent: fetched, verified, unpacked.

    <root>                     what the archive held
    <root>/../<file>           the archive; one that the user put there is kept
    <root>/../<file>.part      what a broken transfer left
    <root>/../<file>.sha256    what was got where no checksum is published, for the next time

The root is whole or absent.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urljoin

from omegaconf import DictConfig

from tl_hpo.data.archive import ArchiveError, NoRoomError, unpack
from tl_hpo.data.order import Order
from tl_hpo.data.published import Companion, Published
from tl_hpo.data.roots import existing_root, is_absent
from tl_hpo.data.transfer import ResumingDownloader, TransferError
from tl_hpo.disk import FULL
from tl_hpo.errors import UserError
from tl_hpo.files import remove_leftovers_of, replacing, waiting_lock, write_json, write_text

log = logging.getLogger(__name__)


def published_root(cfg: DictConfig, published: Published) -> Path:
    """Return ``cfg.root``, fetched where it is absent: it does not exist, or is an empty folder.

    Of several processes one fetches; the others wait for it.

    Raises:
        UserError: it is absent and may not or cannot be fetched; the archive is not the expected
            one or must not be unpacked; there is no room.

    """
    order = Order.of(cfg, published)
    if is_absent(order.root) and (order.allowed or order.archive.exists()):
        with _explained(order), waiting_lock(order.beside(f".{published.file}.lock")):
            if is_absent(order.root):  # another process may have been faster
                _provide(order)
    otherwise = f", put it at {order.archive}, or leave out dataset.download=false"
    return existing_root(order.root, published.remedy + ("" if order.allowed else otherwise))


def _provide(order: Order) -> None:
    """Bring the archive if need be, check it, unpack it; the caller holds the lock."""
    root = order.root.resolve()  # a link may lead to an empty folder, and is to stay one
    if root.is_mount():  # nothing can take its place
        raise UserError(
            f"dataset.root must be no mount point where a dataset is to be fetched, got {root}; "
            f"set dataset.root={root / order.published.folder}."
        )
    for path in (root, order.archive):
        remove_leftovers_of(path)
    expected = order.expected()
    if not order.archive.exists():
        _announce(order)
        _download(order, expected)
        got = expected
    else:
        log.info("%s: taken from %s", order.published.title, order.archive)
        got = _checked(order, expected)
    with replacing(root) as temporary:
        unpack(order.archive, temporary, order.published.max_unpacked)
        if expected is None:
            line = f"{got or _sha256(order.archive)}  {order.archive.name}\n"
            write_text(order.record, line)
        for companion in order.published.companions if order.allowed else ():
            _fetch_companion(order, companion, temporary / companion.file)
    _remove_ours(order)


def _announce(order: Order) -> None:
    published = order.published
    size = "" if published.size is None else f", about {published.size / 1e9:.1f} GB"
    log.info("%s is not in %s: fetching it from %s%s (dataset.download=false forbids that)",
             published.title, order.root, order.url, size)  # fmt: skip
    log.info("Terms of use of %s: %s. See %s", published.title, published.terms, published.page)


def _download(order: Order, expected: str | None) -> None:
    part = order.archive.with_name(f"{order.archive.name}.part")
    _retrieve(
        order, order.url, order.archive, ResumingDownloader(part, order.archive.name), expected
    )
    write_json(order.mark, _identity(order.archive))


def _retrieve(
    order: Order, url: str, target: Path, downloader: ResumingDownloader, expected: str | None
) -> None:
    """Fetch ``url`` to ``target``; what has another checksum is thrown away."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    known = None if expected is None else f"sha256:{expected}"
    parent, name = order.root.parent, order.archive.name
    with TemporaryDirectory(prefix=f".{name}.", suffix=".tmp", dir=parent) as folder:
        try:
            got = pooch.retrieve(url, known, target.name, folder, downloader=downloader)
        except ValueError as error:  # which names the checksum that it got
            downloader.discard()
            found = re.search(r"but got:? ([0-9a-f]{64})", str(error))
            raise _other_checksum(order, expected, found[1] if found else "another", url) from error
        os.replace(got, target)
    downloader.discard()


def _fetch_companion(order: Order, companion: Companion, target: Path) -> None:
    """Fetch a small file that most uses can do without: failing to get it is told, no more."""
    if target.exists():
        return
    # A mirror has it beside the archive.
    url = urljoin(order.url, companion.file) if order.mirrored else companion.url
    part = order.beside(f".{companion.file}.part")
    downloader = ResumingDownloader(part, companion.file)
    try:
        _retrieve(order, url, target, downloader, None)
    except TransferError as error:
        downloader.discard()
        log.warning("%s, %s, cannot be fetched from %s (%s): get it from %s and put it at %s",
                    companion.file, companion.purpose, url, error, companion.url,
                    order.root / companion.file)  # fmt: skip


def _checked(order: Order, expected: str | None) -> str:
    got = _sha256(order.archive)
    if expected is not None and got != expected:
        raise _other_checksum(order, expected, got, str(order.archive))
    return got


def _sha256(path: Path) -> str:
    import pooch

    return str(pooch.file_hash(str(path), alg="sha256"))


def _other_checksum(order: Order, expected: str | None, got: str, source: str) -> UserError:
    recorded, remedy = "", f"set dataset.sha256={got} if that is the archive you want"
    if not (order.sha256 or order.published.sha256):
        recorded = f" that {order.record} has from the first time"
        remedy = f"remove {order.record} if the publisher has replaced the archive"
    return UserError(
        f"the archive of {order.published.title} must have the SHA-256 {expected}{recorded}, got "
        f"{got} from {source}; get it anew from {order.published.page}, or {remedy}."
    )


def _identity(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _remove_ours(order: Order) -> None:
    """Remove the archive if it was fetched; one that the user put there stays."""
    try:
        ours = json.loads(order.mark.read_text()) == _identity(order.archive)
    except (OSError, ValueError):
        ours = False
    if ours:
        order.archive.unlink()
    order.mark.unlink(missing_ok=True)


@contextmanager
def _explained(order: Order) -> Iterator[None]:
    """Tell what the user can mend as a `UserError`."""
    title, folder = order.published.title, order.root.parent
    by_hand = f"get it from {order.published.page} and put it at {order.archive}"
    try:
        yield
    except TransferError as error:
        raise UserError(
            f"{title} must be fetched from {order.url} once, but {error}; repeat the command to "
            f"go on from there, or {by_hand}."
        ) from error
    except ArchiveError as error:
        _remove_ours(order)
        raise UserError(
            f"{order.archive} must be the archive of {title}, but {error}; {by_hand}."
        ) from error
    except NoRoomError as error:
        raise _no_room(order, str(error)) from error
    except OSError as error:
        if error.errno in FULL:
            raise _no_room(order, str(error)) from error
        raise UserError(
            f"dataset.root must lie in a folder that can be written, got {folder} ({error}); "
            "change its permissions or set dataset.root=OTHER."
        ) from error


def _no_room(order: Order, reason: str) -> UserError:
    return UserError(
        f"dataset.root must lie where there is room for {order.published.title} and its archive, "
        f"but {order.root.parent} has too little ({reason}); free space there or set "
        f"dataset.root=OTHER. The archive is {order.url}, to be put at {order.archive}."
    )
