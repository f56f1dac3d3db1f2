"""From templates and Markdown to HTML in which no text of an experiment becomes markup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from tl_hpo.files import write_text

TITLE = "## "
PACKAGE = "tl_hpo.reporting.page"

_environment = Environment(
    loader=PackageLoader(PACKAGE),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True)
class Section:
    """A part of a page: ``identity`` is its anchor, ``title`` its heading, ``body`` the rest."""

    identity: str
    title: str
    body: Markup


def fill(template: str, **values: Any) -> Markup:
    """Return a template with its values, in which text is escaped."""
    return Markup(_environment.get_template(template).render(**values))


def write_page(path: Path, title: str, head: Markup, sections: Iterable[Section]) -> None:
    """Write a page of ``head`` and then the sections, each in the table of contents."""
    page = fill(
        "page.html.j2",
        title=title,
        head=head,
        sections=list(sections),
        style=Markup(_asset("style.css")),
        script=Markup(_asset("page.js")),
        plotly=Markup(get_plotlyjs()),
    )
    write_text(path, page)


def _asset(name: str) -> str:
    return files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def section(identity: str, title: str, *parts: Markup) -> Section | None:
    """Return the parts as a section, None where there is nothing in them."""
    body = Markup("\n").join(part for part in parts if part)
    return Section(identity, title, body) if body else None


def titled(identity: str, blocks: Sequence[str], *parts: Markup) -> Section | None:
    """Return Markdown blocks, the first of them the heading, and what follows as a section."""
    if not blocks:
        return None
    heading, *rest = blocks
    title = heading.removeprefix(TITLE)
    return section(identity, title, html_of(rest, title), *parts)


def html_of(blocks: Iterable[str], about: str = "") -> Markup:
    """Return Markdown blocks as HTML below a section's heading.

    A paragraph that ends in a colon is the caption of the table that it stands above; other tables
    have the nearest heading, or ``about``, for those who do not see the page.
    """
    tokens = _markdown.parse("\n\n".join(block for block in blocks if block))
    told: list[str] = []
    caption, kept = Markup(escape(about)), 0
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            token.tag = tokens[index + 2].tag = "h3"
            caption = _inline(tokens[index + 1])
        if token.type == "table_open":
            above = _caption(tokens, index)
            kept_until = index - 3 if above else index
            told.append(_html(tokens[kept:kept_until]))
            closed = _closing(tokens, index)
            _name_rows(tokens[index:closed])
            rows = Markup(_html(tokens[index + 1 : closed]))
            told.append(fill("table.html.j2", caption=above or caption, shown=above, rows=rows))
            kept = closed + 1
    told.append(_html(tokens[kept:]))
    return Markup("".join(told))


def _html(tokens: Sequence[Token]) -> str:
    return str(_markdown.renderer.render(list(tokens), _markdown.options, {}))


def _inline(token: Token) -> Markup:
    return Markup(_html([token]))


def _caption(tokens: Sequence[Token], table: int) -> Markup | None:
    """Return the paragraph right above a table, if it ends in a colon; without it."""
    if table < 3 or tokens[table - 1].type != "paragraph_close":
        return None
    text = _inline(tokens[table - 2])
    return Markup(text[:-1]) if text.endswith(":") else None


def _closing(tokens: Sequence[Token], table: int) -> int:
    return next(i for i in range(table, len(tokens)) if tokens[i].type == "table_close")


def _name_rows(tokens: Sequence[Token]) -> None:
    """Make the first cell of every row its heading, and name what the headings are of."""
    first = False
    for token in tokens:
        if token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "tr_open":
            first = True
        elif token.type in ("td_open", "td_close") and first:
            token.tag = "th"
            if token.type == "td_open":
                token.attrSet("scope", "row")
            else:
                first = False
