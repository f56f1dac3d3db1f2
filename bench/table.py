"""Record a table of real trials, for `bench.searches` to replay.

Every model is trained with every optimizer, learning rate and delimiting layer, as `optimize.py`
would train it: the classification block once per optimizer and rate, then the layers behind the
delimiting layer from that block, the frozen ones computed once. Where a block came out worse than
the model's best by more than 5 points, fine-tuning from the best block is recorded besides, for
the strategies with a set of hyperparameters per phase. The split keeps near-duplicates together.

A row of the table is one epoch:

| column | meaning |
|---|---|
| model, optimizer, lr | of the trial |
| start | block that fine-tuning starts from: ``own`` (same optimizer and rate) or the ``best`` |
| depth | share of the layers that stay frozen; 1 for the head phase |
| phase, epoch | ``head`` or ``finetune``; epochs count from 1 in each |
| validation, test | accuracy after the epoch |
| seconds | of one core's time that the epoch took, validation on both sides included |

A run that is cut off goes on where it was. Estimated for 2 cores at the default settings: 1.5 h.
"""

import argparse
import functools
import json
import logging
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.common import Model, add_common, make_parser, positive, say
from bench.recorder import Job, Recorder
from bench.replay_table import BEST, HEAD, OWN
from tl_hpo.files import read_csv, replacing, write_csv, write_json
from tl_hpo.overrides import override

OPTIMIZERS = ("sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam")
RATES = tuple(10 ** (-4 + 4 * i / 6) for i in range(7))
DEPTHS = (1.0, 0.9, 0.75, 0.6, 0.4, 0.0)
HEAD_EPOCHS, FINETUNE_EPOCHS, PATIENCE = 10, 5, 2
WORSE = 0.05  # than the best block: fine-tuning from that one is recorded as well
COLUMNS = (
    "model", "optimizer", "lr", "start", "depth", "phase", "epoch", "validation", "test", "seconds",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Record and write the table."""
    parser = make_parser("table", __doc__)
    add_common(parser)
    parser.set_defaults(image_size=64)
    parser.add_argument("--folder", type=Path, required=True, help="for what is recorded so far")
    parser.add_argument("--out", type=Path, required=True, help="FILE.parquet to write")
    parser.add_argument("--workers", type=positive, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--depths", type=float, nargs="+", default=DEPTHS,
        help=f"shares of frozen layers (default: {' '.join(f'{depth:g}' for depth in DEPTHS)})",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    record(options)
    merge(options)


def record(options: argparse.Namespace) -> None:
    """Run all jobs, model by model, and keep the rows of each in a file of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        for model in options.models:
            run = functools.partial(_run, shared(options), options.folder)
            heads = list(_jobs(model))
            _follow(pool.map(run, heads), f"{model.name}: blocks", len(heads))
            tuned = list(_finetuning(options, heads))
            _follow(pool.map(run, tuned), f"{model.name}: fine-tuning", len(tuned))


def shared(options: argparse.Namespace) -> list[str]:
    """Return the overrides of all trials."""
    return [
        "dataset=folder",
        override("dataset.root", str(options.root)),
        "split=holdout",
        "split.groups=near_duplicates",
        f"image_size={options.image_size}",
        f"batch_size={options.batch_size}",
        f"head.epochs={HEAD_EPOCHS}",
        f"finetune.epochs={FINETUNE_EPOCHS}",
        f"head.patience={PATIENCE}",
        f"finetune.patience={PATIENCE}",
        "precision=32",  # faster than bf16 on images this small
        f"trainer.accelerator={options.accelerator}",
        "trainer.progress=false",
        "reuse.memory_gb=4",
    ]


def _jobs(model: Model) -> Iterator[Job]:
    chosen = ("model=timm", override("model.name", model.name))
    chosen = (*chosen, override("model.weights", model.weights))
    for optimizer in OPTIMIZERS:
        for rate in RATES:
            yield Job(chosen, model.name, optimizer, rate)


def _finetuning(options: argparse.Namespace, heads: Sequence[Job]) -> Iterator[Job]:
    reached = [max(float(r["validation"]) for r in _kept(options.folder, job)) for job in heads]
    best = max(reached)
    head_file = recorder_of(options).head_file(heads[reached.index(best)])
    depths = tuple(options.depths)
    for job, value in zip(heads, reached, strict=True):
        plain = {"model": job.model, "name": job.name, "optimizer": job.optimizer, "lr": job.lr}
        yield Job(**plain, start=OWN, depths=depths)
        if value < best - WORSE:
            yield Job(**plain, start=BEST, depths=depths, head_file=head_file)


def recorder_of(options: argparse.Namespace) -> Recorder:
    """Return what records in this process."""
    return Recorder(shared(options), options.folder)


def _run(shared_overrides: list[str], folder: Path, job: Job) -> None:
    if not _path(folder, job).is_file():
        rows = _recorder(tuple(shared_overrides), folder).run(job)
        write_csv(_path(folder, job), COLUMNS, rows)


@functools.cache  # one per process
def _recorder(shared_overrides: tuple[str, ...], folder: Path) -> Recorder:
    torch.set_num_threads(1)  # a core for each process
    logging.disable(logging.WARNING)
    return Recorder(shared_overrides, folder)


def _path(folder: Path, job: Job) -> Path:
    what = job.start if job.depths else HEAD
    return folder / "rows" / f"{job.name}-{job.optimizer}-{job.lr:.2e}-{what}.csv"


def _kept(folder: Path, job: Job) -> list[dict[str, str]]:
    return read_csv(_path(folder, job))


def _follow(results: Iterable[None], what: str, n: int) -> None:
    for done, _ in enumerate(results, 1):
        if done % 7 == 0 or done == n:
            say(f"{what} {done} of {n}")


def merge(options: argparse.Namespace) -> None:
    """Write the table of all that is recorded, and what it is about beside it."""
    files = sorted((options.folder / "rows").glob("*.csv"))
    rows = pd.concat([pd.read_csv(path) for path in files], ignore_index=True)
    small = {"epoch": "int8", "validation": "float32", "test": "float32", "seconds": "float32"}
    with replacing(options.out) as temporary:
        rows.astype(small).to_parquet(temporary, compression="zstd", index=False)
    about: dict[str, Any] = {
        "date": date.today().isoformat(),
        "settings": shared(options)[2:],
        "images": sum(1 for path in options.root.rglob("*") if path.is_file()),
        "models": {m.name: Path(m.weights).name for m in options.models},
        "head_epochs": HEAD_EPOCHS,
        "finetune_epochs": FINETUNE_EPOCHS,
        **recorder_of(options).about([m.name for m in options.models]),
    }
    write_json(options.out.with_suffix(".json"), about)
    say(json.dumps(about))


if __name__ == "__main__":
    main()
