"""What all figures share: fonts, colours, sizes, and how they are saved."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tl_hpo.files import replacing

DPI = 200
PHOTO_DPI = 120
"""Of photographs within an SVG, which holds them without loss: at more it would be very large."""

PAD_INCHES = 0.1
POINTS_PER_INCH = 72
CHARACTER_WIDTH = 0.55
"""Mean width of a character, in units of the font size."""

INK = "#222222"
FAINT = "#8a8a8a"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C2E")
"""Okabe and Ito's colours, which colour-blind readers can tell apart; yellow is too light."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*")

TITLE_SIZE = 12.5
TITLE_INCHES = 0.06
"""From the upper edge to the title, where nothing else finds its place."""

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#e6e6e6",
    "legend.fontsize": 10,
    "legend.frameon": False,
    "svg.hashsalt": "tl_hpo",  # else every SVG has other names within
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "a$b$c"
    "text.usetex": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def drawing(
    path: Path, width: float, height: float, title: str, placed: bool = False
) -> Iterator[Figure]:
    """Yield an empty figure of ``width`` x ``height`` inches and save it as PNG and as SVG.

    The PNG is ``path``; the SVG lies beside it and is the same whenever the same is drawn. The
    title is wrapped to the width. With ``placed`` the caller puts everything where it belongs
    by `place`, below the title; without, matplotlib's constrained layout finds the room.
    Nothing is written when the block raises.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout=None if placed else "constrained")
        FigureCanvasAgg(figure)
        where = {"y": 1 - TITLE_INCHES / height} if placed else {}
        lines = wrapped(title, width, TITLE_SIZE)
        figure.suptitle(lines, fontsize=TITLE_SIZE, fontweight="bold", **where)
        yield figure
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Save a figure to ``path`` as PNG and beside it as SVG, both cut to what is drawn."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # everything has its place: once is enough for both
    drawn = figure.get_tightbbox().padded(PAD_INCHES)
    how: dict[str, Any] = {"bbox_inches": drawn, "facecolor": "white"}
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, **how)
    with replacing(path.with_suffix(".svg")) as temporary:
        figure.savefig(temporary, format="svg", dpi=PHOTO_DPI, metadata={"Date": None}, **how)


def wrapped(text: str, width: float, size: float) -> str:
    """Break ``text`` into lines that fit ``width`` inches at font size ``size``."""
    characters = max(8, int(width * POINTS_PER_INCH / (size * CHARACTER_WIDTH)))
    return textwrap.fill(text, characters, break_on_hyphens=True)


def shortened(text: str, characters: int, head: int | None = None) -> str:
    """Return ``text`` with its middle left out if it is longer than ``characters``.

    ``head`` characters of its beginning stay, by default half of them.
    """
    if len(text) <= characters:
        return text
    head = (characters - 1) // 2 if head is None else head
    return f"{text[:head]}…{text[len(text) - (characters - 1 - head) :]}"


def shortened_apart(names: Sequence[str], characters: int) -> list[str]:
    """Return distinct names shortened so that they still differ.

    The cut lies as near the middle as that allows; where none of ``characters`` does, they are
    longer.
    """
    for length in count(characters):
        middle = (length - 1) // 2
        for head in sorted(range(length), key=lambda place: abs(place - middle)):
            short = [shortened(name, length, head) for name in names]
            if len(set(short)) == len(set(names)):
                return short
    raise AssertionError("names as long as they are differ")


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes of ``width`` x ``height`` inches, ``left`` and ``top`` inches from the corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def header_inches(title: str, width: float) -> float:
    """Return the room to leave for the title above what `place` puts into a figure."""
    return TITLE_INCHES + line_inches(wrapped(title, width, TITLE_SIZE), TITLE_SIZE) + 0.12


def line_inches(text: str, size: float) -> float:
    """Return the height in inches of a possibly wrapped text at font size ``size``."""
    return (text.count("\n") + 1) * size * 1.25 / POINTS_PER_INCH


@dataclass(frozen=True)
class Look:
    """What tells a line from others."""

    colour: str
    marker: str

    @property
    def size(self) -> float:
        """Size of the marker in points: of a dot less than of what has a shape to be seen."""
        return 3.0 if self.marker == MARKERS[0] else 3.8


def looks(names: Iterable[str]) -> Mapping[str, Look]:
    """Give each name a look of its own, in order of first appearance.

    The colours come again after seven, with other markers; all repeats after 63.
    """
    distinct = dict.fromkeys(names)
    return {
        name: Look(PALETTE[index % len(PALETTE)], MARKERS[index // len(PALETTE) % len(MARKERS)])
        for index, name in enumerate(distinct)
    }


def log_axis(axes: Axes) -> None:
    """Make the x axis logarithmic, its decades written out as plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, handles: Iterable[object], columns: int) -> None:
    """Put the legend below the axes, where it covers no data."""
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)
