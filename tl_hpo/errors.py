"""The user's mistakes: told in one line, without a traceback, exit code 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user; its message names the rule, the offending value and the remedy."""


_LISTABLE = 30  # more names than that help nobody
_EXAMPLES = 5


def nearest(value: str, known: Iterable[str]) -> str:
    """Return the known names nearest to ``value`` as a question, or all where they are few."""
    names = sorted(str(name) for name in known)
    close = difflib.get_close_matches(str(value), names, n=3, cutoff=0.5)
    if not close and len(names) > _LISTABLE:
        close = difflib.get_close_matches(str(value), names, n=3, cutoff=0.0)
    if close:
        return f"Did you mean {', '.join(close)}?"
    return f"Choose one of: {', '.join(names)}."


def unknown(kind: str, value: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not among those known, with the nearest of them."""
    return UserError(f"{kind} must be a known name, got {value!r}. {nearest(value, known)}")


def some_of(names: Iterable[str]) -> str:
    """Return the first names, as examples of all of them."""
    listed = list(names)
    return ", ".join(listed[:_EXAMPLES]) + (", ..." if len(listed) > _EXAMPLES else "")


def install(extra: str) -> str:
    """Return, for a message, how to install what an extra of this package brings."""
    return f"pip install 'tl_hpo[{extra}]' (in a checkout: pip install -e '.[{extra}]')"
