"""The whole protocol of the paper on one GPU, on synthetic images instead of Kvasir.

All three strategies with nine models, seven optimizers and 10 trials per step, up to 20 + 20
epochs a trial, early stopping and early cancel, on 8,000 phantom images of 8 classes at the size
that each model's weights were trained at. The strategies run one after another, each as one
``optimize.py``, and share decoded images and trained blocks, as those of a user do. The images
are made first, which is no part of the time. A single run; with random weights more trials are
cancelled early than with ImageNet's, so use --weights imagenet where the network allows it.

It should take less than 1 hour on one modern GPU; the last row tells.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.children import in_child
from bench.common import Row, make_parser, positive, print_header, say, table
from bench.search import optimize
from tl_hpo.overrides import merged, override

CLASSES = 8
STRATEGIES = ("shared", "separate", "separate_steps")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = _parse(arguments)
    print_header("paper_gpu", arguments, "gpu")
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or Path(folder) / "phantom"
        say("making the images")
        number = in_child("count_images", dataset(options, root))
        rows = []
        for strategy in options.strategies:
            say(f"strategy {strategy} on {number} images")
            found = optimize(overrides_of(options, root, strategy), Path(folder) / "store")
            rows.append(_row(strategy, number, found))
    print(table([*rows, _total(rows)]))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("paper_gpu", __doc__)
    add = parser.add_argument
    add("--root", type=Path, help="where the images are made and kept (default: removed)")
    add("--images", type=positive, default=8000, help="of 8 classes together (default: 8000)")
    add("--size", type=positive, default=512, help="pixels per side of the files (default: 512)")
    add("--weights", choices=("random", "imagenet"), default="random", help="default: random")
    add("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    add("overrides", nargs="*", help="further overrides of optimize.py, such as pruner=none")
    return parser.parse_args(arguments)


def dataset(options: argparse.Namespace, root: Path) -> list[str]:
    """Return the overrides that describe the images."""
    return [
        "dataset=phantom",
        override("dataset.root", str(root.absolute())),
        f"dataset.classes={CLASSES}",
        f"dataset.images_per_class={options.images // CLASSES}",
        f"dataset.size={options.size}",
    ]


def overrides_of(options: argparse.Namespace, root: Path, strategy: str) -> list[str]:
    """Return the overrides of optimize.py for one strategy."""
    return merged(
        ["experiment=paper_kvasir", f"strategy={strategy}"],
        dataset(options, root),
        [f"model.weights={options.weights}", "trainer.accelerator=gpu", "trainer.progress=false"],
        options.overrides,
    )


def _row(strategy: str, images: int, found: dict[str, Any]) -> Row:
    trials = found["trials"]
    return {
        "strategy": strategy,
        "images": images,
        "trials": len(trials),
        "cancelled": sum(trial["state"] == "PRUNED" for trial in trials),
        "epochs": sum(sum(trial["epochs"].values()) for trial in trials),
        "minutes": found["total"] / 60,
        "of an hour": found["total"] / 3600,
        "peak MB over imports": found["peak_mb"],
    }


def _total(rows: Sequence[Row]) -> Row:
    added = ("trials", "cancelled", "epochs", "minutes", "of an hour")
    return {
        **rows[0],
        "strategy": "all",
        **{key: sum(row[key] for row in rows) for key in added},
        "peak MB over imports": max(row["peak MB over imports"] for row in rows),
    }


if __name__ == "__main__":
    main()
