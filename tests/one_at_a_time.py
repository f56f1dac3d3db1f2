"""What a machine holds one of at a time, such as a cluster, while tests run in many processes."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tl_hpo.files import waiting_lock

_held: Counter[str] = Counter()


@contextmanager
def holding(name: str) -> Iterator[None]:
    """Hold what is called ``name`` for this process within the block, which may be nested."""
    lock = Path(tempfile.gettempdir()) / f"tl_hpo-tests-{name}.lock"
    with nullcontext() if _held[name] else waiting_lock(lock, quiet=True):
        _held[name] += 1
        try:
            yield
        finally:
            _held[name] -= 1
