"""What all charts of a page share: Plotly draws them, the page gives them its colours."""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.io.json import to_json_plotly

from tl_hpo.reporting.figures.style import PALETTE, shortened
from tl_hpo.reporting.page.rendering import fill

INK = "ink"
"""Where a trace has this ``meta``, the page gives it the colour of its text."""
ACCURACY = "validation accuracy"


@dataclass(frozen=True)
class Chart:
    """A figure of Plotly.

    Attributes:
        figure: what is drawn.
        about: what it shows, for those who do not see it.
        file: what its PNG and SVG are called, without the ending; empty where there are none.
        note: a sentence below it.
        width: least width in pixels; it is scrolled where the screen is narrower.
    """

    figure: go.Figure
    about: str
    file: str = ""
    note: str = ""
    width: int = 0

    def html(self) -> Markup:
        """Return the chart as a part of a page."""
        told = to_json_plotly(self.figure.to_plotly_json())
        for mark in "<>&":  # nothing within ends the script that holds it
            told = told.replace(mark, f"\\u{ord(mark):04x}")
        height = int(self.figure.layout.height)
        return fill("chart.html.j2", chart=self, data=Markup(told), height=height)


def text(name: str, characters: int = 60) -> str:
    """Return a name as Plotly shows it: what looks like a tag is none."""
    return html.escape(shortened(name, characters), quote=False)


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """Give each name a colour, in order of first appearance; they repeat after seven."""
    return dict(zip(dict.fromkeys(names), cycle(PALETTE), strict=False))


def empty(height: int) -> go.Figure:
    """Return a figure without traces, ``height`` pixels high."""
    return go.Figure(layout=layout(height))


def layout(height: int) -> dict[str, Any]:
    """Return what all charts share; the page sets the colours."""
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 36, "b": 56},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "xaxis": {"zeroline": False},
        "yaxis": {"zeroline": False},
    }
