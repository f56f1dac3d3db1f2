"""A synthetic dataset made on the spot: for demos, tests and benchmarks, never for conclusions.

Classes are combinations of findings on a wall of tissue with folds (see `phantom_render`). Every
class name begins with ``synthetic-`` and every image carries the mark SYNTHETIC.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from PIL import Image

from tl_hpo.data.phantom_render import FINDINGS, render_video
from tl_hpo.data.phantom_scene import make_bank
from tl_hpo.data.table import ImageTable, absolute_root
from tl_hpo.errors import UserError

VERSION = 1  # part of the folder's name: to be raised whenever the images change
# Simplest first: nothing, single findings, pairs, ...
COMBINATIONS = tuple(
    found for number in range(len(FINDINGS) + 1) for found in combinations(FINDINGS, number)
)
JPEG_QUALITY = 92
PREFIX = "synthetic-"  # of folders and of classes


@dataclass(frozen=True)
class PhantomSpec:
    """What determines every byte of a phantom dataset.

    Attributes:
        classes: number of classes, 2 to 16.
        images_per_class: images of each class, at least 2.
        frames_per_video: consecutive correlated frames; the last video of a class may be shorter.
        size: pixels per side, 16 to 2048.
        seed: seed of all chance, at least 0.
        difficulty: in [0, 1]; more noise and look-alikes, smaller and fainter findings.

    """

    classes: int
    images_per_class: int
    frames_per_video: int
    size: int
    seed: int
    difficulty: float

    def __post_init__(self) -> None:
        _check("classes", self.classes, 2, len(COMBINATIONS))
        _check("images_per_class", self.images_per_class, 2, 1_000_000)
        _check("frames_per_video", self.frames_per_video, 1, 10_000)
        _check("size", self.size, 16, 2048)
        _check("seed", self.seed, 0, 2**32 - 1)
        _check("difficulty", self.difficulty, 0, 1, whole=False)

    @property
    def key(self) -> str:
        """Folder name that tells all parameters and the version of the generator."""
        return (
            f"{PREFIX}v{VERSION}-c{self.classes}-n{self.images_per_class}"
            f"-f{self.frames_per_video}-s{self.size}-d{self.difficulty:g}-seed{self.seed}"
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in index order."""
        return tuple(
            PREFIX + ("-".join(found) or "normal") for found in COMBINATIONS[: self.classes]
        )

    @property
    def videos_per_class(self) -> int:
        """Number of videos of each class."""
        return -(-self.images_per_class // self.frames_per_video)


def load_phantom(cfg: DictConfig) -> ImageTable:
    """Return the phantom images of ``cfg``, made below ``cfg.root`` where they are absent.

    Raises:
        UserError: a parameter outside its range, a root that cannot be written or holds other
            things.

    """
    spec = PhantomSpec(
        cfg.classes, cfg.images_per_class, cfg.frames_per_video, cfg.size, cfg.seed, cfg.difficulty
    )
    folder = absolute_root(cfg.root) / spec.key
    if not folder.is_dir():
        _check_root(folder.parent)
        try:
            with _new_folder(folder) as temporary:
                write_phantom(temporary, spec)
        except OSError as error:
            raise UserError(
                f"dataset.root must be a folder that can be written, got {cfg.root} "
                f"({error.strerror or error}); set dataset.root=DIR."
            ) from error
    return _table(cfg.name, folder, spec)


def _check_root(root: Path) -> None:
    """Refuse to put synthetic images among others, where they would be one more class."""
    if root.is_dir() and any(not path.name.startswith((".", PREFIX)) for path in root.iterdir()):
        raise UserError(
            f"dataset=phantom, which is the default and synthetic, must have a folder of its own, "
            f"got dataset.root={root} with other things in it; for images of your own say "
            f"dataset=folder dataset.root={root}."
        )


def write_phantom(folder: Path, spec: PhantomSpec) -> None:
    """Write all images of ``spec`` to ``folder/<class>/video<k>_<frame>.jpg``.

    A video depends on the seed, its class and its number alone, so more classes or more images
    leave those before as they are.
    """
    bank = make_bank(spec.seed)
    for label, name in enumerate(spec.class_names):
        (folder / name).mkdir(parents=True)
        findings = frozenset(COMBINATIONS[label])
        for video in range(spec.videos_per_class):
            rng = np.random.default_rng([spec.seed, label, video])
            frames = render_video(
                rng, bank, findings, spec.frames_per_video, spec.size, spec.difficulty
            )
            for path, frame in zip(_video_paths(folder, spec, label, video), frames, strict=False):
                Image.fromarray(frame).save(path, quality=JPEG_QUALITY, subsampling=0)


def _check(name: str, value: float, low: float, high: float, whole: bool = True) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise UserError(
            f"dataset.{name} must be {kind} from {low} to {high}, got {value!r}; "
            f"set dataset.{name} within that range."
        )


def _video_paths(folder: Path, spec: PhantomSpec, label: int, video: int) -> list[Path]:
    """Return the files of one video; videos are numbered through all classes."""
    number = label * spec.videos_per_class + video
    frames = min(spec.frames_per_video, spec.images_per_class - video * spec.frames_per_video)
    stem = folder / spec.class_names[label] / f"video{number:04d}"
    return [stem.with_name(f"{stem.name}_{frame:04d}.jpg") for frame in range(frames)]


def _table(name: str, folder: Path, spec: PhantomSpec) -> ImageTable:
    paths: list[Path] = []
    for label in range(spec.classes):
        for video in range(spec.videos_per_class):
            paths += _video_paths(folder, spec, label, video)
    labels = np.repeat(np.arange(spec.classes, dtype=np.int64), spec.images_per_class)
    groups = tuple(path.name.split("_")[0] for path in paths)
    return ImageTable(name, folder, spec.class_names, tuple(paths), labels, groups, synthetic=True)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; rename it to ``path`` unless another process was faster.

    Unlike `files.replacing`, a folder already there is kept: others may be reading it, and equal
    parameters give equal images.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
