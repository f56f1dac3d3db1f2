"""Predictions of a trained model, as predict.py makes them."""

import logging
import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from tl_hpo.errors import UserError, unknown
from tl_hpo.inference.export import FILES, check_export, export
from tl_hpo.inference.inputs import open_input
from tl_hpo.inference.prediction import Prediction, Tally, write_predictions
from tl_hpo.inference.predictor import LoadedModel, load, machine
from tl_hpo.inference.video import Frame, Video
from tl_hpo.memory import in_words, is_short
from tl_hpo.training.devices import check_accelerator

if TYPE_CHECKING:
    from tl_hpo.inference.heat_maps import HeatMaps

logger = logging.getLogger(__name__)

CLASSES_TOLD = 10  # with their numbers of images, in the message at the end
# A predictions.csv beside these is that of the experiment.
_OF_AN_EXPERIMENT = ("experiment.json", "model.safetensors", "result.json")


@dataclass(frozen=True)
class Places:
    """What is predicted, and where what is said of it goes; ``maps`` None: no heat maps."""

    input: Path
    output: Path
    maps: Path | None


def predict(config: DictConfig) -> None:
    """Export the model that ``config`` names, write what it says of images, or both."""
    _check(config)
    wanted = config.input is not None or config.export is None
    folder = _path("model", config.model, "the best_model folder of an experiment")
    places, exported = _places(config) if wanted else None, _export_path(config)
    model = load(folder)
    if config.export is not None:
        in_its_folder = model.folder / FILES[config.export]
        _export(model, config.export, exported or _writable_file("export_path", in_its_folder))
    if places is not None:
        _predict(config, model, places)


def _export(model: LoadedModel, kind: str, path: Path) -> None:
    checked = export(model, kind, path)
    images = "validation images"
    if checked.random:
        images = "random images, since those of the experiment are not where they were"
    logger.info(
        "Export: %s (probabilities differ by at most %.1e on %d %s)",
        path, checked.difference, checked.images, images,
    )  # fmt: skip


def _predict(config: DictConfig, model: LoadedModel, places: Places) -> None:
    on = machine(config.trainer.accelerator, config.precision or model.trial.get("precision"))
    pictures = 0 if places.maps is None else config.explain_limit
    source = open_input(places.input, config.every, pictures)
    if model.calibration is None:
        logger.info("Probabilities are without temperature scaling: the model has none.")
    model.predictor.to(on.device)
    timeline, maps = Timeline(), _heat_maps(model, places.maps, config.explain_limit)

    def watch(prediction: Prediction) -> None:
        timeline.watch(prediction)
        if maps is not None:
            maps.watch(prediction)

    with _memory_told(config.batch_size):
        tally = write_predictions(
            places.output, source, model, on,
            batch_size=config.batch_size, progress=bool(config.trainer.progress), watch=watch,
        )  # fmt: skip
    _tell(tally, model, places.output)
    if isinstance(source, Video):
        _draw(timeline, model, places)
    if maps is not None:
        limited = tally.readable > maps.written
        bound = f", the first {maps.written} alone (explain_limit)" if limited else ""
        logger.info("Heat maps: %s%s", maps.folder, bound)


def _heat_maps(model: LoadedModel, folder: Path | None, limit: int) -> "HeatMaps | None":
    if folder is None:
        return None
    from tl_hpo.inference.heat_maps import GradCam, HeatMaps  # brings captum

    return HeatMaps(GradCam(model.predictor.model, model.size).heat, folder, limit)


class Timeline:
    """The predictions of a video's frames, to be drawn: a few bytes for each."""

    def __init__(self) -> None:
        self.seconds = array("d")
        self.probabilities = array("f")

    def watch(self, prediction: Prediction) -> None:
        """Keep the prediction of a frame."""
        if isinstance(prediction.entry, Frame) and prediction.probabilities is not None:
            self.seconds.append(prediction.entry.seconds)
            self.probabilities.extend(prediction.probabilities.tolist())


@contextmanager
def _memory_told(batch_size: int) -> Iterator[None]:
    """Tell the user, where memory is short, of the setting that it depends on."""
    try:
        yield
    except Exception as error:
        if not is_short(error):
            raise
        raise UserError(
            f"memory must hold a batch of {batch_size} images, got: {in_words(error)}; set "
            f"batch_size={max(1, batch_size // 2)}."
        ) from error


def _draw(timeline: Timeline, model: LoadedModel, places: Places) -> None:
    from tl_hpo.reporting.figures import timeline as figure

    path = places.output.with_name(f"{places.output.stem}.timeline.png")
    probabilities = np.asarray(timeline.probabilities).reshape(-1, len(model.labels))
    title = f"Classes in {places.input.name}"
    figure.draw(timeline.seconds, probabilities, model.labels, path, title)
    logger.info("Timeline: %s", path)


def _tell(tally: Tally, model: LoadedModel, output: Path) -> None:
    counted = [f"{model.labels[index]} {n}" for index, n in tally.classes.most_common(CLASSES_TOLD)]
    counted += ["..."] if len(tally.classes) > CLASSES_TOLD else []
    logger.info(
        "%d images, %.1f per second: %s",
        tally.readable, tally.readable / max(tally.seconds, 1e-9), ", ".join(counted),
    )  # fmt: skip
    if tally.unreadable:
        logger.warning(
            "%d of %d images cannot be read: they have no prediction, but a reason.",
            tally.unreadable, tally.unreadable + tally.readable,
        )  # fmt: skip
    logger.info("Predictions: %s", output)


def _check(config: DictConfig) -> None:
    check_accelerator(config.trainer.accelerator)
    if config.explain not in (None, "gradcam"):
        raise unknown("explain", str(config.explain), ["gradcam"])
    if config.export is not None:
        check_export(config.export)
    for key in ("batch_size", "explain_limit"):
        value = config[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{key} must be an integer of at least 1, got {value!r}.")
    every = config.every
    if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0 <= every < 1e9:
        raise UserError(
            f"every must be a number of seconds, or 0 for all frames, got {every!r}; set every=1."
        )


def _path(key: str, value: Any, what: str) -> Path:
    if value is None or value == "":
        raise UserError(f"{key} must be given, got none; set {key}=PATH of {what}.")
    if not isinstance(value, (str, int, float)):
        raise UserError(f"{key} must be one path, got {value!r}; set {key}=PATH of {what}.")
    return Path(str(value)).expanduser()


def _places(config: DictConfig) -> Places:
    """Return where predictions come from and go, so that no long run ends at a bad path."""
    given, output = _path("input", config.input, "images or a video"), _output(config.output)
    if config.explain is None:
        return Places(given, output, None)
    folder = config.explain_dir
    if folder is None:
        folder = str(output.with_name(f"{output.stem}.{config.explain}"))
    maps = _path("explain_dir", folder, "the folder of the heat maps")
    if given.is_dir() and maps.resolve().is_relative_to(given.resolve()):
        raise UserError(
            f"heat maps must not lie in the input, which holds them the next time, got "
            f"{str(maps)!r}; set explain_dir=DIR to a folder outside {str(given)!r}."
        )
    return Places(given, output, _writable_folder("explain_dir", maps))


def _output(value: Any) -> Path:
    """Return the path of the csv, in a folder that can be written to."""
    path = _path("output", value, "the csv to write")
    if any((path.parent / name).exists() for name in _OF_AN_EXPERIMENT):
        raise UserError(
            f"output must not lie in the folder of an experiment or a model, got {str(path)!r}; "
            "set output=predictions.csv, say."
        )
    return _writable_file("output", path)


def _export_path(config: DictConfig) -> Path | None:
    """Return the path that was given; None where none was, or nothing is exported."""
    if config.export is None or config.export_path is None:
        return None
    return _writable_file("export_path", _path("export_path", config.export_path, "the file"))


def _writable_file(key: str, path: Path) -> Path:
    """Return ``path`` if a file can be written there; raise UserError otherwise."""
    if path.is_dir():
        raise UserError(f"{key} must be a file, got the folder {str(path)!r}; set {key}=DIR/FILE.")
    _writable_folder(key, path.parent)
    return path


def _writable_folder(key: str, folder: Path) -> Path:
    """Return ``folder`` if files can be written there; raise UserError otherwise.

    It is not made yet: nothing is left where the run fails.
    """
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    try:
        with TemporaryFile(dir=nearest):
            return folder
    except OSError as error:
        raise UserError(
            f"{key} must have a folder that can be written to, got {str(folder)!r} "
            f"({nearest}: {error.strerror}); set {key}=PATH of another place."
        ) from error
