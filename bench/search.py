"""Runs ``optimize.py`` as a process of its own and returns what was learnt of it."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import REPOSITORY
from tl_hpo.overrides import override

STDERR = 2  # the file: what a search says is progress, the table alone is output


def optimize(overrides: Sequence[str], store: Path | None = None) -> dict[str, Any]:
    """Search with ``overrides`` in a run folder that is removed.

    Args:
        overrides: of optimize.py.
        store: where frozen work is kept; None for an empty one that is removed.

    Returns:
        What `bench.watched.measure` returns, and ``total``: seconds of the whole process,
        imports included.

    Raises:
        RuntimeError: the command failed; it said why.

    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "watched.json"
        places = [
            override("runs_dir", str(folder / "runs")),
            override("store.dir", str(store or folder / "store")),
        ]
        began = time.perf_counter()
        code = subprocess.run(
            [sys.executable, "-m", "bench.watched", str(out), *overrides, *places],
            cwd=REPOSITORY,
            stdout=STDERR,
            check=False,
        ).returncode
        total = time.perf_counter() - began
        if code:
            raise RuntimeError(f"optimize.py failed with exit code {code}: {' '.join(overrides)}")
        return {**json.loads(out.read_text(encoding="utf-8")), "total": total}
