"""The code blocks of the documentation, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
PAGES += sorted((REPOSITORY / "docs").glob("*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("", "bash", "sh")


@dataclass(frozen=True)
class Command:
    """One command of a page."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield the page and the content of every block in a language."""
    for page in PAGES:
        for found in _FENCE.finditer(page.read_text(encoding="utf-8")):
            if found[1] == language:
                yield page.name, found[2]


def commands() -> list[Command]:
    """Return every command of every shell block, once."""
    found = [
        Command(page, words)
        for language in _SHELL
        for page, content in blocks(language)
        for line in content.splitlines()
        for words in commands_of(line)
    ]
    return list(dict.fromkeys(found))


def commands_of(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command of a line."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word != "&&":
            words.append(word)
        elif words:
            yield tuple(words)
            words = []


def inline() -> list[tuple[str, str]]:
    """Return (page, text) of all that is set as code within sentences and tables, once."""
    found = [
        (page.name, text)
        for page in PAGES
        for text in re.findall(r"`([^`\n]+)`", _FENCE.sub("", page.read_text(encoding="utf-8")))
    ]
    return list(dict.fromkeys(found))
