"""A real server on this machine that serves archives well, badly or not at all."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What the server has and how it behaves.

    Attributes:
        files: content by path.
        etag: of all of them; None: it sends no validator.
        ranges: whether it serves a part where it is asked for one.
        cuts: after so many bytes the answers end, one after the other; then they are whole.
        stalls: seconds before the content of the answers, one after the other.
        failures: (status, headers) of the first answers.
        length: whether it tells Content-Length.
        asked: path, Range and If-Range of each request.
        sent: bytes of content.

    """

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"first"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    length: bool = True
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    sent: int = 0
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    @property
    def ranges_asked(self) -> list[str | None]:
        return [asked[1] for asked in self.asked]


class _Server(ThreadingHTTPServer):
    def __init__(self, served: Served) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.served, self.lock = served, threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        served = self.server.served
        with self.server.lock:
            served.asked.append((self.path, self.headers["Range"], self.headers["If-Range"]))
            failure = served.failures.pop(0) if served.failures else None
            content = served.files.get(self.path.lstrip("/"))
            cut = served.cuts.pop(0) if served.cuts else None
        if failure or content is None:
            status, headers = failure or (404, {})
            self.answer(status, headers | {"Content-Length": "0"})
        else:
            self.serve(served, content, cut)

    def serve(self, served: Served, content: bytes, cut: int | None) -> None:
        headers = {"ETag": served.etag} if served.etag else {}
        start = self.start_of(served)
        if start >= len(content):
            self.answer(416, {"Content-Length": "0"})
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        if served.length:
            headers["Content-Length"] = str(len(body))
        self.answer(206 if start else 200, headers)
        if served.stalls:
            time.sleep(served.stalls.pop(0))
        with self.server.lock:  # first: the client may be done before this thread goes on
            served.sent += len(body[:cut])
        self.wfile.write(body[:cut])

    def start_of(self, served: Served) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        fits = self.headers["If-Range"] in (None, served.etag)
        return int(wanted[1]) if wanted and served.ranges and fits else 0

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serving() -> Iterator[Served]:
    """Serve from a thread of this process until the block ends."""
    served = Served()
    server = _Server(served)
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def unused_url(path: str) -> str:
    """Return an address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/{path}"
