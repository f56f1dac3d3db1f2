"""The layers of the best model's network, in blocks, and the trials of that network."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tl_hpo.models.layers import Layer, layers_of
from tl_hpo.reporting.records import Run, Trial
from tl_hpo.reporting.tables import best_trial
from tl_hpo.training.result import BEST_MODEL
from tl_hpo.training.saved import DESCRIPTION_FILE, read_description

log = logging.getLogger(__name__)

MOST_BLOCKS = 24
"""More names would not fit along an axis."""
ROOM = 0.026
"""Of all layers, what the name of a block needs beside that of another."""
DEEPEST = 3
"""Parts of a layer's name that may name its block."""


@dataclass(frozen=True)
class Block:
    """Layers ``first`` to ``last``, counted from 0, that belong together."""

    name: str
    first: int
    last: int

    @property
    def middle(self) -> float:
        """Where its name stands along the layers."""
        return (self.first + self.last + 1) / 2


@dataclass(frozen=True)
class Network:
    """What the delimiting layers of trials are drawn along.

    Attributes:
        model: its name in the search.
        n_layers: number of its layers.
        trials: those of this model that have an accuracy and a delimiting layer.
        best: the best trial of the search, one of them.
        layers: its layers; empty where it could not be traced as it was.
        blocks: the same in blocks.
    """

    model: str
    n_layers: int
    trials: Sequence[Trial]
    best: Trial
    layers: Sequence[Layer] = ()
    blocks: Sequence[Block] = ()

    def named_blocks(self) -> list[Block]:
        """Return the blocks whose names there is room for: not the small ones beside others."""
        named: list[Block] = []
        for block in self.blocks:
            if not named or block.middle - named[-1].middle >= ROOM * self.n_layers:
                named.append(block)
        return named


def network_of(run: Run) -> Network | None:
    """Return the network of the best trial, None where no trial has a delimiting layer."""
    best = best_trial([trial for trial in run.searched if trial.n_layers])
    if best is None or best.delimiting_layer is None or not best.n_layers:
        return None
    trials = [
        trial
        for trial in run.searched
        if trial.scored
        and trial.delimiting_layer is not None
        and (trial.model, trial.n_layers) == (best.model, best.n_layers)
    ]
    layers = _layers(run, best.n_layers)
    return Network(best.model, best.n_layers, trials, best, layers, blocks_of(layers))


def _layers(run: Run, expected: int) -> tuple[Layer, ...]:
    """Trace the network of the best model; nothing where that is not the one of the trial."""
    folder = run.folder / BEST_MODEL
    if not (folder / DESCRIPTION_FILE).is_file():
        return ()
    try:
        told = read_description(folder)
        size = told["input"]["height"], told["input"]["width"]
        layers = layers_of(told["trial"]["model"]["name"], size)
    except Exception as error:  # a model of another version, a file of another make
        log.info("The network could not be traced, so its layers have no names: %s", error)
        return ()
    return layers if len(layers) == expected else ()


def blocks_of(layers: Sequence[Layer]) -> list[Block]:
    """Return the layers in blocks: by the longest beginnings of their names that are few enough.

    An operation without a module, an addition say, belongs to the block before it.
    """
    for depth in range(DEEPEST, 0, -1):
        blocks = _blocks(layers, depth)
        if len(blocks) <= MOST_BLOCKS:
            return blocks
    return []


def _blocks(layers: Sequence[Layer], depth: int) -> list[Block]:
    names: list[str] = []
    for layer in layers:
        own = ".".join(layer.name.split(".")[:depth])
        names.append(own if layer.modules or not names else names[-1])
    blocks, first = [], 0
    for name, same in groupby(names):
        count = len(list(same))
        blocks.append(Block(name, first, first + count - 1))
        first += count
    return blocks
