"""Which searches are replayed, in processes of their own; what is done is kept in a folder."""

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bench.common import REPOSITORY, say
from bench.replay import compose_search, replay
from bench.replay_table import read_table
from tl_hpo.files import write_json

Array = np.ndarray

RANDOM, PAPER, OURS = "joint-random", "shared-gpyopt_paper", "joint-gpyopt"
SAME_START = "joint-gp"  # its first trials are gpyopt's initial design
LINEAR_RATES = "search.lr.log=false"  # the paper's axis
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CODE = ("tl_hpo/search", "bench/replay.py", "bench/replay_table.py")  # what results depend on


def one_thread_each() -> Any:
    """Return a context whose new processes compute with one thread: a core for each."""
    return mock.patch.dict(os.environ, dict.fromkeys(THREADS, "1"))


@dataclass(frozen=True)
class Search:
    """A strategy with a sampler.

    Attributes:
        by_budget: whether its first trials depend on how many there will be.
        asked: whether it runs only where it is named, for what it takes.

    """

    name: str
    more: tuple[str, ...] = ()
    by_budget: bool = False
    asked: bool = False

    @property
    def strategy(self) -> str:
        """Return the name of its strategy."""
        return self.name.partition("-")[0]

    @property
    def sampler(self) -> str:
        """Return the name of its sampler in the tables."""
        return self.name.partition("-")[2]

    def overrides(self) -> tuple[str, ...]:
        """Return the overrides of optimize.py."""
        config = self.sampler.removesuffix("10")
        return (f"strategy={self.strategy}", f"sampler={config}", *self.more)


SEARCHES = {
    search.name: search
    for search in (
        Search(OURS),
        Search("joint-gpyopt_plain"),
        Search("joint-gpyopt_paper", (LINEAR_RATES,), asked=True),
        Search(SAME_START),
        Search("joint-gp10", ("sampler.n_initial=10",)),
        Search("joint-tpe"),
        Search("joint-cmaes"),
        Search("joint-qmc"),
        Search(RANDOM),
        Search("joint-grid"),
        Search("joint_separate-gpyopt"),
        Search("per_model-gpyopt", by_budget=True),
        Search("shared-gpyopt", by_budget=True),
        Search("separate-gpyopt", by_budget=True),
        Search("separate_steps-gpyopt", by_budget=True),
        Search(PAPER, (LINEAR_RATES,), by_budget=True),
    )
}


@dataclass(frozen=True)
class Runs:
    """The trials of one search over the seeds, in the order of training; all [seeds, trials]."""

    validation: Array
    test: Array
    seconds: Array
    proposal: Array

    @classmethod
    def of(cls, kept: Sequence[Mapping[str, list[float]]], trials: int) -> "Runs":
        """Stack what was kept of every seed.

        A search that has no more to try has ended; nothing is better than its best.
        """
        nothing = {"validation": -np.inf, "test": np.nan, "seconds": 0.0, "proposal": 0.0}

        def stacked(name: str) -> Array:
            rows = np.full((len(kept), trials), nothing[name])
            for row, each in zip(rows, kept, strict=True):
                row[: len(each[name])] = each[name]
            return rows

        return cls(*(stacked(name) for name in nothing))

    def first(self, trials: int) -> "Runs":
        """Return the beginning of the searches."""
        return Runs(*(each[:, :trials] for each in vars(self).values()))


Results = Mapping[str, Mapping[int, Runs]]
"""Runs by the name of the search and the budget in trials."""


@dataclass(frozen=True)
class _Task:
    """One search with one seed, and where its trials are kept."""

    table: Path
    between: str
    search: Search
    trials: int
    seed: int
    path: Path


def run_all(options: argparse.Namespace) -> Results:
    """Run what is not kept yet, seed by seed, and return everything."""
    tasks = list(_tasks(options))
    left = [task for task in tasks if not task.path.is_file()]
    say(f"{len(tasks) - len(left)} of {len(tasks)} searches are kept from before")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        for done, _ in enumerate(pool.map(_run, left), 1):
            if done % 50 == 0 or done == len(left):
                say(f"{done} of {len(left)}")
    return _collected(options, tasks)


def _tasks(options: argparse.Namespace) -> Iterator[_Task]:
    folders = {
        (search, trials): options.folder
        / f"{search.name}-{trials}-{_digest(options, search, trials)}"
        for search in options.searches
        for trials in _budgets(search, options.trials)
    }
    for seed in range(options.seeds):
        for (search, trials), folder in folders.items():
            path = folder / f"{seed}.json"
            yield _Task(options.table, options.between, search, trials, seed, path)


def _budgets(search: Search, trials: Sequence[int]) -> Sequence[int]:
    return trials if search.by_budget else trials[-1:]


def _digest(options: argparse.Namespace, search: Search, trials: int) -> str:
    """Return what tells results apart: the table, the configuration and the code."""
    config = _config(options.table, options.between, search, trials)
    told = json.dumps([options.between, config], sort_keys=True, default=str)
    return hashlib.sha256(f"{_inputs(options.table)}{told}".encode()).hexdigest()[:12]


@functools.cache
def _inputs(table: Path) -> str:
    files = [path for name in CODE for path in _sources(REPOSITORY / name)]
    digest = hashlib.sha256()
    for path in (table, table.with_suffix(".json"), *files):
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def _sources(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _run(task: _Task) -> None:
    config = _config(task.table, task.between, task.search, task.trials)
    start = config["sampler"]["n_initial"] if task.search.name == SAME_START else 0
    trials = replay(config, read_table(task.table, task.between), task.seed, start)
    names = ("validation", "test", "seconds", "proposal")
    write_json(task.path, {name: [getattr(each, name) for each in trials] for name in names})


@functools.cache  # in every process: composing takes longer than many a search
def _config(table: Path, between: str, search: Search, trials: int) -> dict[str, Any]:
    rows = read_table(table, between)
    config = compose_search(search.overrides(), rows, trials)
    if search.name == SAME_START:
        ours = compose_search(SEARCHES[OURS].overrides(), rows, trials)["sampler"]
        config["sampler"]["n_initial"] = ours["n_initial"]
    return config


def _collected(options: argparse.Namespace, tasks: Sequence[_Task]) -> Results:
    kept: dict[tuple[str, int], list[dict[str, list[float]]]] = {}
    for task in tasks:
        own = json.loads(task.path.read_text(encoding="utf-8"))
        kept.setdefault((task.search.name, task.trials), []).append(own)
    runs = {key: Runs.of(each, key[1]) for key, each in kept.items()}
    last = options.trials[-1]
    return {
        search.name: {
            trials: runs.get((search.name, trials), runs[search.name, last].first(trials))
            for trials in options.trials
        }
        for search in options.searches
    }
