"""One experiment of this project against the same list of trials through a plain Lightning loop.

``optimize.py`` searches with strategy=shared over some models, in a process of its own; then every
trial that it ran (model, optimizer, learning rate, delimiting layer, as many epochs) runs through
the plain loop in one process. ``search s`` is the experiment from start to end without imports and
report, decoding included; ``total s`` is the whole command. The ratios are the plain loop's
seconds over these. With --plain-every K the plain loop runs every K-th trial of each step and
model, and its seconds are scaled. ``between trials``: from the last epoch of a trial to the first
of the next, less passes over images.

Estimated for 2 cores and 749 images: 1 hour, or 25 minutes with --plain-every 4.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.children import in_child
from bench.common import (
    Row,
    add_common,
    begin,
    make_parser,
    medians,
    positive,
    refuse,
    say,
    settings,
    table,
)
from bench.search import optimize
from tl_hpo.overrides import merged, override

Trial = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = _parse(arguments)
    begin("one_experiment", arguments, options)
    repetitions = []
    for number in range(options.repeats):
        say(f"repetition {number + 1} of {options.repeats}")
        repetitions.append(_repetition(options))
    print(table([medians(repetitions)]))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("one_experiment", __doc__)
    add_common(parser, ["mobilenetv2_100", "resnet50"])
    add = parser.add_argument
    add("--trials", type=positive, default=10, help="of the first step (default: 10)")
    add("--layer-trials", type=positive, default=10, help="of the layer step (default: 10)")
    add("--plain-every", type=positive, default=1, metavar="K", help="see above (default: 1)")
    add("--precision", choices=("auto", "32", "bf16"), default="auto", help="32: by reuse alone")
    add("--sampler", default="gpyopt", help="default: gpyopt")
    options = parser.parse_args(arguments)
    weights = {model.weights for model in options.models}
    if len(options.models) > 1 and weights not in ({"random"}, {"imagenet"}):
        refuse("the models of one experiment must all be random or all imagenet, or be one model")
    return options


def overrides_of(options: argparse.Namespace) -> list[str]:
    """Return the overrides of optimize.py."""
    return [
        *settings(options),
        "strategy=shared",
        "pruner=none",
        override("sampler", options.sampler),
        override("search.models", [model.name for model in options.models]),
        override("model.weights", options.models[0].weights),
        f"search.n_trials={options.trials}",
        f"search.layer_trials={options.layer_trials}",
        f"precision={options.precision}",
    ]


def _repetition(options: argparse.Namespace) -> Row:
    here = optimize(overrides_of(options))
    say(f"  search {here['seconds'] - here['report']:.0f} s, plain loop follows")
    plain = _plain(here["trials"], options)
    search = here["seconds"] - here["report"]
    ran = f"{plain['ran']} of {len(here['trials'])}"
    return {
        "trials": len(here["trials"]),
        "run by the plain loop": ran if options.plain_every == 1 else f"{ran}, scaled",
        "plain s": plain["seconds"],
        "search s": search,
        "total s": here["total"],
        "search ×": plain["seconds"] / search,
        "total ×": plain["seconds"] / here["total"],
        "between trials s, median": statistics.median(here["gaps"]) if here["gaps"] else 0.0,
        "between trials s, longest": max(here["gaps"], default=0.0),
        "proposal s, median": statistics.median(here["proposals"]),
        "proposal s, longest": max(here["proposals"]),
        "images through all frozen layers": here["images_passed"],
        "best accuracy": max(trial["accuracy"] for trial in here["trials"]),
        "best of the plain loop": plain["accuracy"],
        "peak MB over imports": here["peak_mb"],
    }


def _plain(trials: Sequence[Trial], options: argparse.Namespace) -> dict[str, float]:
    """Run the trials, or every K-th of each step and model, through the plain loop; scale."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in sorted(trials, key=lambda each: each["delimiting_layer"]):
        groups.setdefault((trial["step"], trial["model"]), []).append(trial)
    chosen = {key: group[:: options.plain_every] for key, group in groups.items()}
    listed = [_same(each, options.accelerator) for group in chosen.values() for each in group]
    results = iter(in_child("plain", listed))
    seconds, accuracies = 0.0, []
    for key, group in chosen.items():
        of_group = [next(results) for _ in group]
        mean = statistics.mean(each["seconds"] for each in of_group)
        seconds += mean * len(groups[key])
        accuracies += [each["accuracy"] for each in of_group]
    return {"seconds": seconds, "accuracy": max(accuracies), "ran": len(accuracies)}


def _same(trial: Trial, accelerator: str) -> list[str]:
    """Return what repeats a trial, for as many epochs as it came to: it may have diverged."""
    epochs = [f"{phase}.epochs={number}" for phase, number in trial["epochs"].items()]
    return merged(trial["overrides"], epochs, [f"trainer.accelerator={accelerator}"])


if __name__ == "__main__":
    main()
