"""A process that trains a trial together with the one that started it, and ends with it.

Started by `ranks.Ranks` as ``python -m tl_hpo.training.rank FD``. It follows rank 0 through the
fine-tune phase; it reports nothing and writes nothing.
"""

import logging
import os
import sys
import threading
import traceback
import warnings
from multiprocessing.connection import Connection

import torch
from omegaconf import OmegaConf

from tl_hpo.errors import UserError
from tl_hpo.memory import in_words, is_short
from tl_hpo.processes import add_modules
from tl_hpo.training.group import connect, joined
from tl_hpo.training.ranks import Failed, Ready, Setup
from tl_hpo.training.trial import follow, prepare
from tl_hpo.training.worker import Worker


def main() -> None:
    """Serve the connection whose file descriptor is the first argument."""
    connection = Connection(int(sys.argv[1]))
    setup = connection.recv()
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    logging.disable(logging.CRITICAL)  # rank 0 says it all
    warnings.simplefilter("ignore")
    try:
        _run(setup, connection)
    except Exception as error:
        connection.send(_failed(setup, error))
        connection.close()
        os._exit(1)  # whatever is still in flight between the processes


def _end_with(connection: Connection) -> None:
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


def _run(setup: Setup, connection: Connection) -> None:
    add_modules(setup.modules)
    config = OmegaConf.create(setup.config)
    config.reuse = False  # rank 0 shares what frozen layers made
    config.trainer.progress = False
    if config.trainer.accelerator != "cpu":
        torch.cuda.set_device(setup.rank)
    trial = prepare(config, Worker(config))
    connection.send(Ready())
    store = connect(setup.port, setup.size, master=False)
    with joined(setup.rank, setup.size, store, trial.worker.device) as group:
        follow(trial, group)
    threading.Event().wait()  # rank 0 ends the process: by itself it ends only where it fails


def _failed(setup: Setup, error: Exception) -> Failed:
    told = in_words(error)
    if not isinstance(error, UserError):
        told = f"rank {setup.rank} of {setup.size}: {type(error).__name__}: {told}"
    return Failed(told, traceback.format_exc(), isinstance(error, UserError), is_short(error))


if __name__ == "__main__":
    main()
