"""``dataset.root``: the folder that the images lie in."""

import os
from pathlib import Path
from typing import Any

from tl_hpo.data.table import absolute_root
from tl_hpo.errors import UserError


def visible(name: str) -> bool:
    """Tell whether a file or folder counts; hidden ones do not."""
    # Archives made on a Mac bring a second tree of resource forks in __MACOSX.
    return not name.startswith(".") and name != "__MACOSX"


def is_absent(root: Path) -> bool:
    """Tell whether ``root`` does not exist or is a folder without anything, hidden or not."""
    if not root.is_dir():
        return not os.path.lexists(root)
    return os.access(root, os.R_OK | os.X_OK) and not any(root.iterdir())


def existing_root(value: Any, remedy: str) -> Path:
    """Return ``dataset.root`` as an absolute path of an existing folder that is not empty.

    Args:
        value: as configured.
        remedy: what to do where it is none, as the begin of a clause.

    Raises:
        UserError: it is not set, no folder, cannot be read, or is empty.

    """
    root = absolute_root(value)
    if not root.is_dir():
        state = "a file" if root.exists() else "nothing"
        raise UserError(
            f"dataset.root must be an existing folder, got {root} ({state} is there); "
            f"{remedy}, or set dataset.root=DIR."
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(
            f"dataset.root must be a folder that can be read, got {root} without the permission; "
            "change its permissions or set dataset.root=DIR."
        )
    if not any(visible(path.name) for path in root.iterdir()):
        raise UserError(
            f"dataset.root must hold images, got the empty folder {root}; "
            f"{remedy}, or set dataset.root=DIR."
        )
    return root
