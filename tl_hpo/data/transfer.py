"""Fetching a large file over HTTP: a broken transfer goes on where it broke.

    <name>.part         the bytes so far
    <name>.part.json    what they are part of: address, validator, size of the whole

The second is written before the first byte.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from tl_hpo.data.archive import require_room
from tl_hpo.files import write_json

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

TIMEOUT = (10.0, 60.0)  # seconds to connect, and without a byte
BREAKS = 5  # of the connection within one call
BACKOFF = 0.5  # seconds; doubled with every try
LONGEST_WAIT = 60  # seconds that a server may ask for by Retry-After
CONNECT_TRIES, STATUS_TRIES = 2, 4  # after the first
BUSY = (429, 500, 502, 503, 504)
CHUNK = 1 << 16
USER_AGENT = "tl_hpo"  # with nothing about the machine


class TransferError(Exception):
    """A file that could not be fetched; the message says why."""


class _BrokenError(Exception):
    """The connection broke while bytes came."""


class _OutdatedError(Exception):
    """The server has another file by now than the one that the bytes so far are part of."""


@dataclass(frozen=True)
class _Part:
    """What the bytes so far are part of; ``total`` is None where the server does not say."""

    url: str
    validator: str | None = None
    total: int | None = None

    @classmethod
    def of(cls, url: str, response: "requests.Response") -> "_Part":
        headers = response.headers
        tag = headers.get("ETag")
        strong = tag if tag and not tag.startswith("W/") else None  # If-Range allows no weak one
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        return cls(url, strong or headers.get("Last-Modified"), total)


class ResumingDownloader:
    """Fetches a file by way of ``part``, for `pooch.retrieve`.

    All bytes stay in ``part`` until `discard`, which is for the caller to call once the file is
    checked and in its place: checking gigabytes takes a while, and whoever interrupts that need not
    fetch them again. Bytes of an earlier call are not fetched again either, provided that the
    server says that they are of the same file (If-Range on ETag or Last-Modified).

    Args:
        part: where the bytes lie until all are there.
        label: of the progress bar.

    """

    def __init__(self, part: Path, label: str) -> None:
        self._path = part
        self._note = part.with_name(f"{part.name}.json")
        self._label = label

    def __call__(self, url: str, output_file: str | Path, pooch: Any = None) -> None:
        """Fetch ``url`` to ``output_file``; ``pooch`` is part of the protocol and not used.

        Raises:
            TransferError: no answer, one that refuses, a connection that breaks too often.
            NoRoomError: the disk has no room for what is to come.
            OSError: a file cannot be written.

        """
        import requests
        import urllib3

        try:
            with _session() as session:
                self._fetch(session, url)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise TransferError(_reason(error)) from error
        Path(output_file).unlink(missing_ok=True)  # pooch makes an empty one
        try:
            os.link(self._path, output_file)
        except OSError:  # a file system without links
            os.replace(self._path, output_file)

    def discard(self) -> None:
        """Forget the bytes so far."""
        self._path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _fetch(self, session: "requests.Session", url: str) -> None:
        reason = ""
        for attempt in range(BREAKS + 1):
            if attempt:
                time.sleep(BACKOFF * 2**attempt)
            try:
                self._go_on(session, url)
                return
            except _OutdatedError:
                self.discard()
                reason = "the file on the server has changed"
            except _BrokenError as error:
                reason = f"the connection broke after {self._size():,} bytes: {error}"
            log.info("%s: %s", self._label, reason)
        raise TransferError(f"{BREAKS + 1} times in vain, at last {reason}")

    def _go_on(self, session: "requests.Session", url: str) -> None:
        """Fetch what is missing, in one request."""
        part, offset = self._begun(url)
        if offset and offset == part.total:
            return
        headers = {"Range": f"bytes={offset}-", "If-Range": part.validator} if offset else {}
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if offset and response.status_code == 416:  # shorter by now
                raise _OutdatedError
            response.raise_for_status()
            if response.status_code == 206:
                self._check_range(response, part, offset)
            else:  # the whole: the first time, or the file has changed, or no ranges are served
                part, offset = _Part.of(url, response), 0
                self._path.write_bytes(b"")  # before the note: old bytes are not of this file
                write_json(self._note, asdict(part))
            if part.total is not None:
                require_room(self._path.parent, part.total - offset)
            self._write(response, part, offset)

    def _begun(self, url: str) -> tuple[_Part, int]:
        """Return what is there already of ``url`` and how many bytes; 0 where it is of no use."""
        try:
            part = _Part(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return _Part(url), 0
        size = self._size()
        if part.url != url or not part.validator or (part.total is not None and size > part.total):
            return replace(part, url=url), 0
        return part, size

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    @staticmethod
    def _check_range(response: "requests.Response", part: _Part, offset: int) -> None:
        told = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", told.strip())
        if not found or int(found[1]) != offset:
            raise _OutdatedError
        if part.total is not None and found[2] not in ("*", str(part.total)):
            raise _OutdatedError

    def _write(self, response: "requests.Response", part: _Part, offset: int) -> None:
        with (
            self._path.open("ab") as file,
            # disable=None: silent when the output is no terminal
            tqdm(total=part.total, initial=offset, desc=self._label, unit="B", unit_scale=True,
                 leave=False, disable=None) as bar,
        ):  # fmt: skip
            for chunk in _chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
        if part.total is not None and self._size() < part.total:
            raise _BrokenError("the server ended it")
        if part.total is not None and self._size() > part.total:
            raise _OutdatedError


def _chunks(response: "requests.Response") -> Iterator[bytes]:
    """Yield the bytes as they come, so that none is lost when the connection breaks."""
    import urllib3

    while True:
        try:
            chunk = response.raw.read1(CHUNK, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise _BrokenError(_reason(error)) from error
        if not chunk:
            return
        yield chunk


@contextmanager
def _session() -> Iterator["requests.Session"]:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    class Patient(Retry):
        def parse_retry_after(self, retry_after: str) -> float:
            return min(super().parse_retry_after(retry_after), LONGEST_WAIT)

    retry = Patient(
        total=CONNECT_TRIES + STATUS_TRIES,
        connect=CONNECT_TRIES,
        read=CONNECT_TRIES,
        other=CONNECT_TRIES,
        status=STATUS_TRIES,
        status_forcelist=BUSY,
        allowed_methods=("GET",),
        backoff_factor=BACKOFF,
        raise_on_status=False,
    )
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        # Compressed on the way, bytes would not be those that Range and Content-Length count.
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": USER_AGENT})
        # It warns of every try, in the terms of its own objects.
        noisy = logging.getLogger("urllib3.connectionpool")
        level = noisy.level
        noisy.setLevel(logging.ERROR)
        try:
            yield session
        finally:
            noisy.setLevel(level)


def _reason(error: BaseException) -> str:
    """Return the innermost reason, in a line without addresses of objects."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    inner, deeper = error, _cause(error)
    while deeper is not None:
        inner, deeper = deeper, _cause(deeper)
    text = " ".join(str(inner).split())
    return re.sub(r"^.*?object at 0x[0-9a-f]+>: |^\w+\(.*?\): ", "", text) or type(error).__name__


def _cause(error: BaseException) -> BaseException | None:
    """Return what urllib3 and requests have wrapped into ``error``."""
    candidates = (getattr(error, "reason", None), *error.args[:1])
    return next((inner for inner in candidates if isinstance(inner, BaseException)), None)
