"""What the benchmarks share: arguments, the machine's description, medians, tables.

Nothing heavy is imported here: measurements have processes of their own, see `bench.children`.
"""

import argparse
import logging
import shlex
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import in_child
from tl_hpo.overrides import override

REPOSITORY = Path(__file__).resolve().parent.parent
MODELS = ("densenet121", "resnet50", "mobilenetv2_100")
RATE = 1e-3  # Adam's own learning rate
OTHER_RATE = 5e-4  # of a later trial of the same search
USER_MISTAKE = 2

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A candidate: timm's name, and its weights as ``model.weights`` takes them."""

    name: str
    weights: str

    @classmethod
    def parse(cls, text: str) -> "Model":
        """Read ``NAME`` or ``NAME=WEIGHTS``."""
        name, _, weights = text.partition("=")
        if weights in ("", "random", "imagenet"):
            return cls(name, weights or "random")
        path = Path(weights).expanduser().absolute()
        if not path.is_file():
            raise argparse.ArgumentTypeError(f"no file of weights: {path}")
        return cls(name, str(path))


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of ``python -m bench.<name>`` that knows no arguments yet."""
    return argparse.ArgumentParser(
        prog=f"python -m bench.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_common(parser: argparse.ArgumentParser, models: Sequence[str] = MODELS) -> None:
    """Add what every benchmark on the user's images takes."""
    add = parser.add_argument
    add("--root", type=_folder, required=True, help="folder of images, a sub-folder per class")
    add("--image-size", type=positive, default=128, help="pixels per side (default: 128)")
    add("--batch-size", type=positive, default=32, help="images per batch (default: 32)")
    add("--epochs", type=positive, default=2, help="of each of the two phases (default: 2)")
    add("--accelerator", choices=("cpu", "gpu"), default="cpu", help="default: cpu")
    add("--repeats", type=positive, default=3, help="of every measurement (default: 3)")
    add(
        "--models", nargs="+", type=Model.parse, default=[Model.parse(name) for name in models],
        metavar="NAME[=WEIGHTS]",
        help="timm models, each with imagenet, random (default) or a file as its weights "
        f"(default: {' '.join(models)})",
    )  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what a search tells on its way from the terminal."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _folder(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"no folder: {path}")
    return path


def settings(options: argparse.Namespace) -> list[str]:
    """Return the overrides that all trials of a benchmark share, of train.py and optimize.py.

    No trial ends early: both sides train for as many epochs.
    """
    return [
        "dataset=folder",
        override("dataset.root", str(options.root)),
        "split=random",  # on both sides, whatever the images
        f"image_size={options.image_size}",
        f"batch_size={options.batch_size}",
        f"head.epochs={options.epochs}",
        f"finetune.epochs={options.epochs}",
        "head.patience=null",
        "finetune.patience=null",
        f"trainer.accelerator={options.accelerator}",
        "trainer.progress=false",
    ]


def trial(options: argparse.Namespace, model: Model) -> list[str]:
    """Return the overrides of one trial with Adam, but for its learning rate."""
    chosen = ["model=timm", override("model.name", model.name)]
    chosen.append(override("model.weights", model.weights))
    return [*settings(options), *chosen, "optimizer=adam"]


def begin(name: str, arguments: Sequence[str] | None, options: argparse.Namespace) -> None:
    """Print the machine and the command, and bring the images into the page cache.

    Else whichever side came first would wait for the disk.
    """
    print_header(name, arguments, options.accelerator)
    for path in options.root.rglob("*"):
        if path.is_file():
            path.read_bytes()


def print_header(name: str, arguments: Sequence[str] | None, accelerator: str) -> None:
    """Print the line that tells the machine and the command."""
    machine = in_child("machine")
    if accelerator == "gpu" and machine["gpu"] is None:
        refuse(f"bench.{name} needs a CUDA device for a GPU's table, torch finds none here")
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", f"bench.{name}", *words])
    print(f"{_describe(machine, accelerator)}; `{command}`\n", flush=True)


def _describe(machine: Mapping[str, Any], accelerator: str) -> str:
    bf16 = "yes" if machine["bf16"][accelerator] else "no"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB; "
        f"{machine['gpu'] or 'no GPU'}; torch {machine['torch']}; "
        f"bf16 in hardware of the {accelerator}: {bf16}"
    )


def refuse(message: str) -> None:
    """End as a user's mistake does: one line, exit code 2."""
    print(message, file=sys.stderr)
    sys.exit(USER_MISTAKE)


def say(message: str) -> None:
    """Tell how far it is, beside the output."""
    print(message, file=sys.stderr, flush=True)


def medians(repetitions: Sequence[Row]) -> dict[str, Any]:
    """Return the median of every column; words are those of the first repetition."""
    return {
        key: value if isinstance(value, str) else statistics.median(r[key] for r in repetitions)
        for key, value in repetitions[0].items()
    }


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table with a column per key of the rows, which all have the same."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[_cell(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
