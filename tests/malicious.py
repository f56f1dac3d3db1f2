"""Files that run code where they are unpickled."""

from pathlib import Path
from typing import Any

import torch


class Touches:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def save_code(path: Path, touched: Path, *, zipped: bool = True) -> None:
    """Write what looks like weights, in either of torch's formats, and makes a file as it loads."""
    state = {"conv1.weight": Touches(touched), "weight": Touches(touched)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
