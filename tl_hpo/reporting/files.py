"""What the files of a report are called."""

import re


def step_file(step: str) -> str:
    """Return the name of a step, or of anything else, as a part of a file's name."""
    return re.sub(r"[^\w.-]", "_", step)


def side_suffix(side: str) -> str:
    """Return what tells the file of a side from that of the validation side."""
    return "" if side == "validation" else f"_{side}"
