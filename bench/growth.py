"""Time and memory of this project against the number of images and the number of trials.

Images: a cold trial on 1, 2 and 4 times the images, each copy a file of its own name. Trials: 1, 4
and 16 of one worker on smaller images, each with another learning rate. Memory is resident memory
over that after the imports, at its peak and at the end; memory-mapped files count. The columns ×
compare time per image, or per trial, and peak memory with the first row of the kind: 1 is linear
time, and memory that does not grow.

Estimated for 2 cores and 749 images: 10 minutes.
"""

import argparse
import tempfile
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

from bench.children import in_child
from bench.common import (
    RATE,
    Model,
    Row,
    add_common,
    begin,
    make_parser,
    medians,
    positive,
    say,
    table,
    trial,
)

STEP = 0.9  # of the learning rate from trial to trial


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = _parse(arguments)
    begin("growth", arguments, options)
    rows = []
    for model in options.models:
        rows += _relative(_by_images(options, model), "ms per image")
        rows += _relative(_by_trials(options, model), "s per trial")
    print(table(rows))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("growth", __doc__)
    add_common(parser, ["mobilenetv2_100"])
    parser.add_argument("--precision", choices=("auto", "32", "bf16"), default="auto")
    for name, default in (("factors", [1, 2, 4]), ("trials", [1, 4, 16])):
        text = f"(default: {' '.join(map(str, default))})"
        parser.add_argument(f"--{name}", nargs="+", type=positive, default=default, help=text)
    parser.add_argument(
        "--trials-image-size", type=positive, default=64, help="where trials grow (default: 64)"
    )
    return parser.parse_args(arguments)


def _by_images(options: argparse.Namespace, model: Model) -> list[Row]:
    rows = []
    for factor in options.factors:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "images"
            number = replicate(options.root, root, factor)
            changed = copy(options)
            changed.root = root
            rows.append(_measure(changed, model, number, 1))
    return rows


def _by_trials(options: argparse.Namespace, model: Model) -> list[Row]:
    changed = copy(options)
    changed.image_size = options.trials_image_size
    images = len(_files(options.root))
    return [_measure(changed, model, images, trials) for trials in options.trials]


def _relative(rows: Sequence[Row], unit: str) -> list[Row]:
    """Add what compares rows with the first of them: ``unit``, and peak memory."""
    first = rows[0]
    return [
        {
            **row,
            "time ×": row[unit] / first[unit],
            "peak ×": row["peak MB"] / first["peak MB"],
        }
        for row in rows
    ]


def replicate(source: Path, target: Path, factor: int) -> int:
    """Link every file below ``source`` into ``target`` ``factor`` times; return their number."""
    files = _files(source)
    for path in files:
        folder = target / path.relative_to(source).parent
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(factor):
            (folder / f"{number}_{path.name}").symlink_to(path)
    return factor * len(files)


def _files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


def _measure(options: argparse.Namespace, model: Model, images: int, trials: int) -> Row:
    overrides = [*trial(options, model), f"precision={options.precision}"]
    rates = [RATE * STEP**number for number in range(trials)]
    repetitions = []
    for _ in range(options.repeats):
        measured = in_child("project", overrides, rates)
        seconds = sum(each["seconds"] for each in measured["trials"])
        say(f"{model.name}, {images} images, {trials} trials: {seconds:.1f} s")
        repetitions.append(_row(model, images, trials, seconds, measured))
    return medians(repetitions)


def _row(model: Model, images: int, trials: int, seconds: float, measured: dict[str, Any]) -> Row:
    gpu = {"GPU peak MB": measured["gpu_mb"]} if measured["gpu_mb"] else {}
    return {
        "model": model.name,
        "images": images,
        "trials": trials,
        "s": seconds,
        "ms per image": 1e3 * seconds / images,
        "s per trial": seconds / trials,
        "peak MB": measured["peak_mb"],
        "MB at the end": measured["end_mb"],
        **gpu,
    }


if __name__ == "__main__":
    main()
