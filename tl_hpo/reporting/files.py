"""What the files of a report are called, and the folders that it tells of."""

import re
from collections.abc import Sequence
from pathlib import Path


def step_file(step: str) -> str:
    """Return the name of a step, or of anything else, as a part of a file's name."""
    return re.sub(r"[^\w.-]", "_", step)


def side_suffix(side: str) -> str:
    """Return what tells the file of a side from that of the validation side."""
    return "" if side == "validation" else f"_{side}"


def names_of(folders: Sequence[Path]) -> list[str]:
    """Return the names of folders, with as many of those above as tell all of them apart.

    None is a whole path, which may tell whose machine it is.
    """
    parts = [folder.resolve().parts[1:] for folder in folders]
    names: list[str] = []
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names
