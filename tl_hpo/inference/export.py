"""A model for other programs: ONNX or TorchScript, checked against the model itself.

The graph takes images as training decodes them, uint8 [batch, 3, height, width] in RGB, and gives
probabilities [batch, classes]: normalisation, views and temperature are inside. It computes in
32 bits.
"""

import csv
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tl_hpo.data.images import decode_into
from tl_hpo.disk import trouble
from tl_hpo.errors import UserError, install, unknown
from tl_hpo.files import read_csv, replacing
from tl_hpo.inference.predictor import LoadedModel, Predictor
from tl_hpo.training.result import PREDICTIONS_FILE

FILES = {"onnx": "model.onnx", "torchscript": "model.torchscript"}
INPUT, OUTPUT = "images", "probabilities"
TOLERANCE = 1e-4
CHECKED_AT_ONCE = 8  # images
_TALKATIVE = ("onnx_ir", "onnxscript")  # they tell every node that they remove
RANDOM_IMAGES = 16  # that it is checked on where those of the experiment are gone

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Checked:
    """How far an export is from the model.

    Attributes:
        difference: the largest between two probabilities.
        images: number of images compared.
        random: whether these are random, since those of the experiment are gone.

    """

    difference: float
    images: int
    random: bool


def check_export(kind: str) -> None:
    """Raise UserError for an export that is unknown, or whose packages are not installed."""
    if kind not in FILES:
        raise unknown("export", str(kind), FILES)
    if kind == "onnx":
        try:
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"export=onnx must have its packages installed, got no {error.name}; "
                f"{install('onnx')}."
            ) from error


def export(model: LoadedModel, kind: str, path: Path) -> Checked:
    """Write ``model`` to ``path`` if what is written predicts as the model does.

    Args:
        model: on the host.
        kind: onnx or torchscript.
        path: of the file.

    Raises:
        UserError: the model cannot be exported, or the export predicts something else; no file is
            left then.

    """
    predictor = model.predictor
    with replacing(path) as temporary:
        with _told_as_ours(kind):
            run = _WRITERS[kind](predictor, model.size, temporary)
        checked = _check(run, predictor, model)
        if not checked.difference <= TOLERANCE:
            raise UserError(
                f"export={kind} must predict as the model does, within {TOLERANCE:g}, got a "
                f"difference of {checked.difference:.2g} on {checked.images} images; no file was "
                f"written: try export={next(other for other in FILES if other != kind)}."
            )
    return checked


@contextmanager
def _told_as_ours(kind: str) -> Iterator[None]:
    """Turn what the exporters raise, and they raise anything, into a line; drop what they say."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if isinstance(error, MemoryError) or trouble(error):  # they have their own words
            raise
        first = next(iter(str(error).strip().splitlines()), "")
        raise UserError(
            f"export={kind} must have a model that torch can export, got {type(error).__name__}: "
            f"{first}; try export={next(other for other in FILES if other != kind)}."
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _example(size: tuple[int, int]) -> torch.Tensor:
    return torch.zeros(2, 3, *size, dtype=torch.uint8)  # one image would fix the batch at 1


def _write_onnx(predictor: Predictor, size: tuple[int, int], path: Path) -> Run:
    import onnxruntime

    program = torch.onnx.export(
        predictor,
        (_example(size),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


def _write_torchscript(predictor: Predictor, size: tuple[int, int], path: Path) -> Run:
    with torch.no_grad():
        torch.jit.trace(predictor, (_example(size),)).save(str(path))
    loaded = torch.jit.load(str(path))

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return loaded(torch.from_numpy(images)).numpy()

    return run


_WRITERS = {"onnx": _write_onnx, "torchscript": _write_torchscript}


def _check(run: Run, predictor: Predictor, model: LoadedModel) -> Checked:
    """Compare on the validation images, in batches of another size than the example's."""
    batches = list(_validation_paths(model))
    random = not batches
    worst, compared = 0.0, 0
    for images in _random_images(model.size) if random else _decoded(batches, model.size):
        inputs = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        with torch.no_grad():
            expected = predictor(torch.from_numpy(inputs)).numpy()
        # `max` of Python would lose a difference that is not a number.
        worst = float(np.max([worst, np.abs(run(inputs) - expected).max()]))
        compared += len(images)
    return Checked(worst, compared, random)


def _validation_paths(model: LoadedModel) -> list[Path]:
    """Return the validation images that are where the experiment found them.

    There are none where its files are damaged, or another program's.
    """
    try:
        root, judged = _root(model), read_csv(model.folder / PREDICTIONS_FILE)
    except (OSError, ValueError, csv.Error):
        return []
    named = [row.get("path") for row in judged if row.get("side") == "validation"]
    paths = [Path(root, name) for name in named if root and name]
    return [path for path in paths if os.path.isfile(path)]  # which takes any text for a path


def _root(model: LoadedModel) -> str | None:
    """Return the folder that the paths of the experiment's images are relative to."""
    described = model.folder.parent / "experiment.json"
    if described.is_file():
        told, key = json.loads(described.read_text(encoding="utf-8")), "dataset_root"
    else:
        told, key = model.trial.get("dataset"), "root"
    root = told.get(key) if isinstance(told, Mapping) else None
    return root if isinstance(root, str) else None


def _decoded(paths: list[Path], size: tuple[int, int]) -> Iterator[np.ndarray]:
    for start in range(0, len(paths), CHECKED_AT_ONCE):
        chunk = paths[start : start + CHECKED_AT_ONCE]
        images = np.zeros((len(chunk), *size, 3), np.uint8)
        decode_into(images, chunk, progress=False)  # what is unreadable stays black, and is used
        yield images


def _random_images(size: tuple[int, int]) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    for _ in range(0, RANDOM_IMAGES, CHECKED_AT_ONCE):
        yield generator.integers(0, 256, (CHECKED_AT_ONCE, *size, 3), dtype=np.uint8)
