"""Overrides in Hydra's grammar, and what they fix. Knows nothing of torch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./~-][\w./~+%-]*", re.ASCII)
_KEYWORDS = frozenset({"null", "true", "false", "inf", "nan"})


def override(key: str, value: Any) -> str:
    """Return ``key=value`` in Hydra's override grammar, quoted where it has to be."""
    return f"{key}={_literal(value)}"


def key_of(text: str) -> str:
    """Return the key of an override, without the signs that add, force or delete it."""
    return text.partition("=")[0].lstrip("+~").strip()


def values_of(overrides: Iterable[str]) -> dict[str, str]:
    """Return what overrides set, as text, by their keys."""
    return {key_of(text): text.partition("=")[2] for text in overrides}


def merged(*parts: Iterable[str]) -> list[str]:
    """Return all overrides in order; of several with one key the last stands."""
    last = {key_of(text): text for part in parts for text in part}
    return list(last.values())


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_literal(k)}:{_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_literal(item) for item in value) + "]"
    return _text_literal(str(value))


def _text_literal(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _KEYWORDS:
        return text
    # Hydra's grammar: backslashes escape only before a quote, or at the end of quoted text.
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"
