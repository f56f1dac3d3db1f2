"""What an experiment is to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_hpo.search.earlier import Earlier
from tl_hpo.search.limits import Limits
from tl_hpo.search.repeats import Repeats
from tl_hpo.search.strategy import Strategy


@dataclass(frozen=True)
class Plan:
    """What an experiment is to do.

    Attributes:
        folder: the run folder.
        strategy: its steps.
        overrides: of train.py, shared by all trials.
        fixed: keys that the command line holds fixed.
        models: names of the model configs.
        sampler: config of the sampler.
        pruner: config of the pruner.
        seed: of the search.
        epochs: of both phases together, at most.
        limits: what ends it early.
        warm_start: configurations of earlier experiments that come first, the best first.
        warm_folders: run folders that these were read from.
        warm_trials: of every step, at most, are such.
        repeats: how the best configurations are trained again.
    """

    folder: Path
    strategy: Strategy
    overrides: Sequence[str]
    fixed: Sequence[str]
    models: Sequence[str]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    seed: int
    epochs: int | None = None
    limits: Limits = field(default_factory=Limits)
    warm_start: Sequence[Earlier] = ()
    warm_folders: Sequence[Path] = ()
    warm_trials: int = 3
    repeats: Repeats = field(default_factory=Repeats)
