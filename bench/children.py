"""Every measurement has a process of its own: nothing is warm but the imports.

The processes are forked from a server that has imported all that either side needs, so that no
import is counted, and that has used nothing of it, so that no side finds a thread pool, a kernel
or a page of memory that an earlier measurement left.
"""

import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

JOBS = "bench.jobs"


def in_child(job: str, *arguments: Any) -> Any:
    """Return what ``bench.jobs.<job>(*arguments)`` returns in a new process; plain values only."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([JOBS])
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        return pool.submit(_run, job, arguments).result()


def _run(job: str, arguments: tuple[Any, ...]) -> Any:
    # A child would start its own children as it was started itself: every worker of the plain
    # loop's loaders would import torch anew, which a user's script does not do.
    multiprocessing.set_start_method("fork", force=True)
    return getattr(importlib.import_module(JOBS), job)(*arguments)
