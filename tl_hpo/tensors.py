"""Tensors in a file that others may read as they may read its folder."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write ``tensors`` to ``path``, wherever they lie; safetensors gives it to its owner alone."""
    save_file({name: each.detach().cpu().contiguous() for name, each in tensors.items()}, path)
    path.chmod(path.parent.stat().st_mode & 0o666)
