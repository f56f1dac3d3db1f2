"""Small datasets on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from tl_hpo.data.appearance import BORDER, OVERLAY, pack
from tl_hpo.data.fingerprints import Fingerprints
from tl_hpo.data.phantom_render import FINDINGS, render_video
from tl_hpo.data.phantom_scene import make_bank
from tl_hpo.data.table import ImageTable

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="session")
def frames() -> np.ndarray:
    """Eight small phantom frames, uint8 [8, 32, 32, 3]."""
    rng = np.random.default_rng(0)
    return render_video(rng, make_bank(0), frozenset(FINDINGS[:1]), 8, 32, 0.5)


@pytest.fixture
def plant(tmp_path: Path, frames: np.ndarray) -> Callable[..., Path]:
    """Write phantom frames as the files named (relative to a new root) and return the root."""

    def write(*names: str) -> Path:
        root = tmp_path / "images"
        for index, name in enumerate(names):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frames[index % len(frames)]).save(root / name)
        return root

    return write


@pytest.fixture
def dataset() -> Callable[..., DictConfig]:
    """Read conf/dataset/<name>.yaml with some keys replaced."""

    def read(name: str, **replaced: object) -> DictConfig:
        return OmegaConf.merge(OmegaConf.load(CONF / "dataset" / f"{name}.yaml"), replaced)

    return read


@pytest.fixture
def split_config() -> Callable[..., DictConfig]:
    """Read conf/split/<name>.yaml below a top-level seed of 0, with some keys replaced."""

    def read(name: str = "random", **replaced: object) -> DictConfig:
        split = OmegaConf.merge(OmegaConf.load(CONF / "split" / f"{name}.yaml"), replaced)
        return OmegaConf.create({"seed": 0, "split": split}).split

    return read


@pytest.fixture(scope="session")
def make_table() -> Callable[..., ImageTable]:
    """Make a table of ``sizes`` images per class, a, b, ...; they are nowhere on disk."""

    def make(sizes: list[int], **known: object) -> ImageTable:
        root, classes = Path("/images"), tuple("abcdefgh"[: len(sizes)])
        labels = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
        paths = tuple(root / classes[label] / f"{i:03d}.jpg" for i, label in enumerate(labels))
        return ImageTable("some", root, classes, paths, labels, **known)

    return make


@pytest.fixture(scope="session")
def fingerprints_of() -> Callable[..., Fingerprints]:
    """Return fingerprints with the hashes bool [n, 256]; all else is usual unless given."""

    def make(bits: np.ndarray, **given: object) -> Fingerprints:
        n = len(bits)
        usual = {
            "content": tuple(f"{i:032x}" for i in range(n)),
            "hashes": pack(np.asarray(bits, dtype=bool).reshape(n, 256)),
            "contrasts": np.full(n, 200),
            "sizes": np.full((n, 2), 64),
            "border": np.zeros((n, BORDER), np.float32),
            "overlay": np.zeros((n, OVERLAY), np.float32),
            "readable": np.ones(n, bool),
        }
        told = {k: tuple(v) if k == "content" else np.asarray(v) for k, v in given.items()}
        return Fingerprints(**(usual | told))

    return make
