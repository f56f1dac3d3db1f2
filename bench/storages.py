"""How many trials a second can be proposed, reported and recorded? They take no time themselves.

| column | meaning |
|---|---|
| clients | `sqlite`: workers of one optimize.py; `postgresql`: so many optimize.py, of one worker |
| trials/s | proposed, run and told, all clients together |
| writes/s | proposals, reports of epochs and ends of trials, all clients together |

PostgreSQL is a server of the benchmark's own, from Debian's packages, with fsync on.
"""

import argparse
import logging
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bench.common import REPOSITORY, make_parser, positive, print_header, quiet, say
from bench.common import table as markdown
from bench.simulated import EPOCHS, Threads, Waiting, waiting_plan
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.storages import open_shared_storage

CLIENTS = (1, 8, 32)
SQLITE, POSTGRESQL = "sqlite", "postgresql"
WRITES = EPOCHS + 2  # of a trial
HEARTBEAT = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = _parse(arguments)
    print_header("storages", arguments, "cpu")
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from postgresql_server import server  # the tests' own

    rows = []
    with server(fsync=True) if POSTGRESQL in options.storages else nullcontext("") as url:
        for storage in options.storages:
            for clients in options.clients:
                with quiet():
                    took = _measure(storage, clients, options.trials, url)
                rate = options.trials / took
                say(f"{storage}, {clients} clients: {rate:.1f} trials/s")
                rows.append({
                    "storage": storage, "clients": clients, "trials": options.trials,
                    "seconds": took, "trials/s": rate, "writes/s": WRITES * rate,
                })  # fmt: skip
    print(markdown(rows))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("storages", __doc__)
    add = parser.add_argument
    add("--storages", nargs="+", default=(SQLITE, POSTGRESQL), choices=(SQLITE, POSTGRESQL),
        help="default: both")  # fmt: skip
    add("--clients", type=positive, nargs="+", default=CLIENTS, help="default: 1 8 32")
    add("--trials", type=positive, default=320, help="of every measurement (default: 320)")
    return parser.parse_args(arguments)


def _measure(storage: str, clients: int, trials: int, url: str) -> float:
    """Return the seconds that the trials take, from the first client's start."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / f"{clients}-clients"
        if storage == SQLITE:
            plan = waiting_plan(run, trials)
            began = time.monotonic()
            Experiment(plan, Waiting(0.0), executor=Threads(0.0, clients)).run()
            return time.monotonic() - began
        return _in_processes(run, clients, trials, url)


def _in_processes(run: Path, clients: int, trials: int, url: str) -> float:
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(clients + 1)
    processes = [
        context.Process(target=_client, args=(run, trials, url, begin)) for _ in range(clients)
    ]
    for process in processes:
        process.start()
    begin.wait()
    began = time.monotonic()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a client failed, see above")
    return time.monotonic() - began


def _client(run: Path, trials: int, url: str, begin: Any) -> None:
    logging.disable(logging.INFO)
    plan = waiting_plan(run, trials)
    run.mkdir(parents=True, exist_ok=True)
    storage = open_shared_storage(url, run, HEARTBEAT)
    begin.wait()
    Experiment(plan, Waiting(0.0), storage, Threads(0.0, 1)).run()


if __name__ == "__main__":
    main()
