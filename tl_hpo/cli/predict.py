"""Predictions of a trained model, as predict.py makes them."""

import logging
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from tl_hpo.errors import UserError, unknown
from tl_hpo.inference.export import FILES, check_export, export
from tl_hpo.inference.heat_maps import GradCam, HeatMaps
from tl_hpo.inference.inputs import open_input
from tl_hpo.inference.prediction import Prediction, Tally, write_predictions
from tl_hpo.inference.predictor import LoadedModel, Machine, load, machine
from tl_hpo.inference.source import Source
from tl_hpo.inference.video import Frame, Video
from tl_hpo.memory import in_words, is_short
from tl_hpo.training.devices import check_accelerator

logger = logging.getLogger(__name__)

NAMED = 10  # classes counted in the message at the end
# A predictions.csv beside these is that of the experiment.
_OF_AN_EXPERIMENT = ("experiment.json", "model.safetensors", "result.json")


def predict(config: DictConfig) -> None:
    """Export the model that ``config`` names, write what it says of images, or both."""
    _check(config)
    wanted = config.input is not None or config.export is None
    output = _output(config.output) if wanted else None
    model = load(_path("model", config.model, "the best_model folder of an experiment"))
    if config.export is not None:
        _export(config, model)
    if output is not None:
        _predict(config, model, output)


def _export(config: DictConfig, model: LoadedModel) -> None:
    path = config.export_path
    path = model.folder / FILES[config.export] if path is None else _path("export_path", path, "it")
    checked = export(model, config.export, path)
    images = "validation images"
    if checked.random:
        images = "random images, since those of the experiment are not where they were"
    logger.info(
        "Export: %s (probabilities differ by at most %.1e on %d %s)",
        path, checked.difference, checked.images, images,
    )  # fmt: skip


def _predict(config: DictConfig, model: LoadedModel, output: Path) -> None:
    on = machine(config.trainer.accelerator, config.precision or model.trial.get("precision"))
    given = _path("input", config.input, "images or a video")
    pictures = 0 if config.explain is None else config.explain_limit
    source = open_input(given, config.every, pictures)
    if model.calibration is None:
        logger.info("Probabilities are without temperature scaling: the model has none.")
    model.predictor.to(on.device)
    timeline, maps = Timeline(), _heat_maps(config, model, output)

    def watch(prediction: Prediction) -> None:
        timeline.watch(prediction)
        if maps is not None:
            maps.watch(prediction)

    tally = _write(config, output, source, model, on, watch)
    _tell(tally, model, output)
    if isinstance(source, Video):
        _draw(timeline, model, output, given.name)
    if maps is not None:
        limited = tally.readable > maps.written
        bound = f", the first {maps.written} alone (explain_limit)" if limited else ""
        logger.info("Heat maps: %s%s", maps.folder, bound)


def _heat_maps(config: DictConfig, model: LoadedModel, output: Path) -> HeatMaps | None:
    if config.explain is None:
        return None
    folder = config.explain_dir
    if folder is None:
        folder = output.with_name(f"{output.stem}.{config.explain}")
    cam = GradCam(model.predictor.model, model.size)
    return HeatMaps(cam.heat, _path("explain_dir", str(folder), "it"), config.explain_limit)


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


def _write(
    config: DictConfig,
    output: Path,
    source: Source,
    model: LoadedModel,
    on: Machine,
    watch: Callable[[Prediction], None],
) -> Tally:
    try:
        return write_predictions(
            output,
            source,
            model.size,
            model.labels,
            model.predictor,
            on,
            batch_size=config.batch_size,
            progress=bool(config.trainer.progress),
            watch=watch,
        )
    except Exception as error:
        if not is_short(error):
            raise
        raise UserError(
            f"memory must hold a batch of {config.batch_size} images, got: {in_words(error)}; set "
            f"batch_size={max(1, config.batch_size // 2)}."
        ) from error


def _draw(timeline: Timeline, model: LoadedModel, output: Path, name: str) -> None:
    from tl_hpo.reporting.figures import timeline as figure

    path = output.with_name(f"{output.stem}.timeline.png")
    probabilities = np.asarray(timeline.probabilities).reshape(-1, len(model.labels))
    figure.draw(timeline.seconds, probabilities, model.labels, path, f"Classes in {name}")
    logger.info("Timeline: %s", path)


def _tell(tally: Tally, model: LoadedModel, output: Path) -> None:
    counted = [f"{model.labels[index]} {n}" for index, n in tally.classes.most_common(NAMED)]
    counted += ["..."] if len(tally.classes) > NAMED else []
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


def _output(value: Any) -> Path:
    """Return the path of the csv, in a folder that can be written to."""
    path = _path("output", value, "the csv to write")
    if path.is_dir():
        raise UserError(
            f"output must be a file, got the folder {str(path)!r}; set output=DIR/FILE.csv."
        )
    if any((path.parent / name).exists() for name in _OF_AN_EXPERIMENT):
        raise UserError(
            f"output must not lie in the folder of an experiment or a model, got {str(path)!r}; "
            "set output=predictions.csv, say."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"output must lie in a folder that can be made, got {str(path)!r} ({error.strerror}); "
            "set output=predictions.csv, say."
        ) from error
    return path
