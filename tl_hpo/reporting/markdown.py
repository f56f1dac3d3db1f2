"""Markdown for tables and text that may hold anything."""

from collections.abc import Sequence

_MADE_UP, _SO = "The images are synthetic.", "Figures from them say nothing about real images."
SYNTHETIC = f"{_MADE_UP} {_SO}"
SYNTHETIC_MARKDOWN = f"**{_MADE_UP}** {_SO}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, the first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Escape what Markdown would take for markup; a folder name may hold any of it, lines too."""
    text = " ".join(text.splitlines())
    for mark in "\\|*_`<[#&":
        text = text.replace(mark, f"\\{mark}")
    return text


def number(value: float | str | None) -> str:
    """Return whole numbers as they are, others with four decimals, nothing for ``None``."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:d}" if isinstance(value, int) else f"{value:.4f}"
