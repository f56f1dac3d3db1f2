"""Who watches an experiment: the live table in a terminal, or nobody where lines are enough."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from tl_hpo.errors import unknown
from tl_hpo.search.plan import Plan
from tl_hpo.search.watching import UNWATCHED, Watcher

KINDS = ("auto", "live", "plain")


def draws_live(config: DictConfig) -> bool:
    """Tell whether a table is drawn: by itself in a terminal that can be drawn on.

    Raises:
        UserError: ``progress`` is nothing known.

    """
    kind = config.progress
    if kind not in KINDS:
        raise unknown("progress", str(kind), KINDS)
    if kind != "auto":
        return bool(kind == "live")
    from rich.console import Console  # heavy: --help needs none of it

    console = Console()
    return sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal


@contextmanager
def watched(config: DictConfig, plan: Plan, workers: int) -> Iterator[Watcher]:
    """Show an experiment while the block runs it, as the setting ``progress`` says.

    Yields:
        whom the experiment tells what happens.

    """
    if not draws_live(config):
        yield UNWATCHED
        return
    from rich.console import Console

    from tl_hpo.cli.live.board import Board
    from tl_hpo.cli.live.display import shown
    from tl_hpo.cli.live.outline import outline_of

    epochs = {phase: config[phase].epochs for phase in ("head", "finetune")}
    outline = outline_of(plan, f"{plan.strategy.name} on {config.dataset.name}", epochs)
    changed = threading.Event()
    board = Board(outline, workers, changed.set)
    console = Console(file=sys.stdout, force_terminal=True, force_interactive=True)
    with shown(board, changed, console):
        yield board
