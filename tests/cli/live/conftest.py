import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "search"))

from tl_hpo.cli.live.outline import Outline, OutlinedStep
from tl_hpo.cli.live.table import draw

OUTLINE = Outline(
    "shared on phantom",
    (
        OutlinedStep("shared", 10, frozenset(["shared"])),
        OutlinedStep("layers", 4, frozenset(["layers"])),
    ),
    {"head": 20, "finetune": 20},
)


@pytest.fixture
def outline():
    return OUTLINE


@pytest.fixture
def lines():
    """Draw a view as plain lines of a terminal of some size."""

    def go(view, width=110, height=30):
        console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
        console.print(draw(view, width, height), end="")
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    return go
