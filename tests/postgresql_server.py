"""A PostgreSQL server of the tests' own, from Debian's packages, on loopback."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

USER = "postgres"  # the server refuses to run as root
PASSWORD = "secret-of-the-tests"


def programs() -> Path | None:
    """Return where Debian puts the server's programs, None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def server(*, fsync: bool = False) -> Iterator[str]:
    """Run a server and yield the URL of an empty database; one of the tests may lose it."""
    with TemporaryDirectory(prefix="tl_hpo-postgresql-") as folder:
        os.chmod(folder, 0o755)  # for the server's user to get through
        with _running(Path(folder), fsync) as url:
            yield url


@contextmanager
def _running(folder: Path, fsync: bool) -> Iterator[str]:
    bin_ = programs()
    assert bin_ is not None
    data, port = folder / "data", _free_port()
    data.mkdir()
    secret = folder / "password"
    secret.write_text(PASSWORD)
    for path in (data, secret):
        shutil.chown(path, USER)
    _as_user(bin_ / "initdb", "-D", data, "-U", "tests", "-A", "scram-sha-256", "--pwfile", secret,
             "-N")  # fmt: skip
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={data}"
    options += f" -c fsync={'on' if fsync else 'off'} -c max_connections=200"
    _as_user(bin_ / "pg_ctl", "-D", data, "-o", options, "-l", data / "log", "-w", "start")
    try:
        yield f"postgresql://tests:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        _as_user(bin_ / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _as_user(*command: object) -> None:
    words = [str(word) for word in command]
    subprocess.run(words, check=True, capture_output=True, user=USER, cwd="/", timeout=60,
                   group=pwd.getpwnam(USER).pw_gid)  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
