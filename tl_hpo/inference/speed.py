"""How fast a model predicts: images per second in batches, and how long a single image takes.

speed.json     of the machine that the experiment ran on
"""

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tl_hpo.files import write_json
from tl_hpo.inference.predictor import Machine, load, machine
from tl_hpo.training.devices import device_name, release_memory

log = logging.getLogger(__name__)

SPEED_FILE = "speed.json"
REPEATS = 10
SECONDS = 1.0  # for the repeats of one batch size; a slow model is measured once


@dataclass(frozen=True)
class Speed:
    """What a forward pass of decoded images in memory takes.

    Attributes:
        device: name of the processor.
        precision: Lightning's name for it.
        batch_size: of the throughput.
        images_per_second: in such batches.
        latency_ms: median time of a single image, milliseconds.

    """

    device: str
    precision: str
    batch_size: int
    images_per_second: float
    latency_ms: float


def record_speed(folder: Path, accelerator: str, precision: object, batch_size: int) -> None:
    """Measure the model in ``folder`` and write its speed there, unless that has been done.

    No failure is worth an experiment: it is logged.
    """
    if (folder / SPEED_FILE).exists():
        return
    try:
        model = load(folder)
        on = machine(accelerator, precision)
        found = measure(model.predictor.to(on.device), model.size, on, batch_size)
        write_json(folder / SPEED_FILE, asdict(found))
    except Exception as error:
        log.warning("The speed of the model was not measured: %s: %s", type(error).__name__, error)
    finally:
        release_memory()


def measure(
    predictor: torch.nn.Module, size: tuple[int, int], on: Machine, batch_size: int
) -> Speed:
    """Measure ``predictor``, on the device of ``on``, with images of ``size`` (H, W)."""

    def seconds(images: int) -> float:
        batch = torch.zeros(images, 3, *size, dtype=torch.uint8, device=on.device)
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), on.arithmetic():
            return _median_seconds(lambda: predictor(batch), on.device)

    per_batch, per_image = seconds(batch_size), seconds(1)
    return Speed(
        _name(on.device), on.precision, batch_size, batch_size / per_batch, 1000 * per_image
    )


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median of some repeats after a first; of slow work, the time of that first."""

    def timed() -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    first = timed()
    times: list[float] = []
    while len(times) < REPEATS and first + sum(times) < SECONDS:
        times.append(timed())
    return statistics.median(times or [first])


def _name(device: torch.device) -> str:
    count = torch.get_num_threads()
    threads = "" if device.type == "cuda" else f", {count} thread{'s' if count > 1 else ''}"
    return device_name(device) + threads
