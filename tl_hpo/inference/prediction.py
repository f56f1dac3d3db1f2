"""Predictions, batch by batch, and their csv."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tl_hpo.errors import UserError
from tl_hpo.files import write_csv
from tl_hpo.inference.predictor import LoadedModel, Machine, Predictor
from tl_hpo.inference.source import Batch, Entry, Source, ahead

log = logging.getLogger(__name__)

PREFIX = "probability_"  # of a class in the csv: one may be called "path"
UNREADABLE_TOLD = 10  # images that are warned of by name


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        image: as the network sees it, uint8 [H, W, 3].
        probabilities: [classes]; None where the image cannot be read.
        reason: why it cannot be read, or empty.

    """

    entry: Entry
    image: np.ndarray
    probabilities: np.ndarray | None
    reason: str = ""


@dataclass
class Tally:
    """What a run comes to: images per predicted class, those that cannot be read, seconds."""

    classes: Counter[int] = field(default_factory=Counter)
    unreadable: int = 0
    first_reason: str = ""
    seconds: float = 0.0

    @property
    def readable(self) -> int:
        """Number of images that were predicted."""
        return self.classes.total()

    def count(self, prediction: Prediction) -> None:
        """Count one more image; warn of the first that cannot be read."""
        if prediction.probabilities is not None:
            self.classes[int(prediction.probabilities.argmax())] += 1
            return
        self.unreadable += 1
        self.first_reason = self.first_reason or prediction.reason
        if self.unreadable <= UNREADABLE_TOLD:
            log.warning("Cannot be read: %s (%s)", prediction.entry.name(), prediction.reason)


def predictions(
    predictor: Predictor, batches: Iterable[Batch], on: Machine
) -> Iterator[Prediction]:
    """Yield what ``predictor``, on the device of ``on``, says of each image, in order."""
    for batch in batches:
        kept = [i for i in range(len(batch.entries)) if i not in batch.failures]
        values = dict(zip(kept, _probabilities(predictor, batch.images[kept], on), strict=True))
        for i, entry in enumerate(batch.entries):
            yield Prediction(entry, batch.images[i], values.get(i), batch.failures.get(i, ""))


def _probabilities(predictor: Predictor, images: np.ndarray, on: Machine) -> np.ndarray:
    """Map images, uint8 [n, H, W, 3], to probabilities [n, classes]."""
    if not len(images):
        return np.empty((0, 0))
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).to(on.device)
    with torch.inference_mode(), on.arithmetic():
        return predictor(inputs).cpu().numpy()


def write_predictions(
    path: Path,
    source: Source,
    model: LoadedModel,
    on: Machine,
    *,
    batch_size: int,
    progress: bool = True,
    watch: Callable[[Prediction], None] = lambda prediction: None,
) -> Tally:
    """Predict all of ``source`` and write the csv, a row per image, whole or not at all.

    Args:
        path: of the csv.
        model: its predictor is on the device of ``on``.
        progress: show a bar if the output is a terminal.
        watch: called with every prediction.

    Raises:
        UserError: not one image can be read.

    """
    tally, started = Tally(), time.monotonic()
    found = predictions(model.predictor, ahead(source.batches(model.size, batch_size)), on)
    # disable=None: silent when the output is no terminal
    disable = None if progress else True
    with (
        logging_redirect_tqdm(),
        tqdm(found, total=source.total, unit="image", leave=False, disable=disable) as each,
    ):
        rows = _rows(each, model.labels, tally, watch)
        write_csv(path, columns(source, model.labels), rows)
    tally.seconds = time.monotonic() - started
    return tally


def _rows(
    found: Iterable[Prediction],
    labels: Sequence[str],
    tally: Tally,
    watch: Callable[[Prediction], None],
) -> Iterator[dict[str, str]]:
    """Yield the rows of the csv; refuse, at the end, an input of which nothing can be read."""
    for each in found:
        tally.count(each)
        watch(each)
        yield _row(each, labels)
    if not tally.readable:
        raise UserError(
            f"input must hold an image that can be read, got none among {tally.unreadable} "
            f"({tally.first_reason}); give JPEG, PNG or TIFF images, or a video."
        )


def columns(source: Source, labels: Sequence[str]) -> list[str]:
    """Return the columns of the csv."""
    of_classes = [PREFIX + name for name in labels]
    return [*source.columns, "predicted", "probability", *of_classes, "reason"]


def _row(prediction: Prediction, labels: Sequence[str]) -> dict[str, str]:
    cells, values = prediction.entry.cells(), prediction.probabilities
    if values is None:
        return {**cells, "reason": prediction.reason}
    best = int(values.argmax())
    of_classes = {PREFIX + name: _digits(v) for name, v in zip(labels, values, strict=True)}
    return {**cells, "predicted": labels[best], "probability": _digits(values[best]), **of_classes}


def _digits(value: float) -> str:
    return f"{value:.6f}"
