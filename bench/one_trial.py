"""One trial of this project, cold and warm, against a plain Lightning loop.

Both sides train the same model for as many epochs on the same split, with the same batches,
optimizer and learning rate, in a process of their own, imports not counted. Cold: an empty store
and a new worker, so decoding and the pass through the frozen layers count. Warm: a later trial of
the same worker with another learning rate. Ratios are the plain loop's seconds over this
project's: in its default precision, in fp32 (by reuse alone), and cold with reuse=false.

Estimated for 2 cores and 749 images: 25 minutes.
"""

import argparse
from collections.abc import Sequence

from bench.children import in_child
from bench.common import (
    OTHER_RATE,
    RATE,
    Model,
    Row,
    add_common,
    begin,
    make_parser,
    medians,
    say,
    table,
    trial,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = make_parser("one_trial", __doc__)
    add_common(parser)
    options = parser.parse_args(arguments)
    begin("one_trial", arguments, options)
    repetitions = {model.name: list[Row]() for model in options.models}
    for number in range(options.repeats):
        for model in options.models:
            say(f"{model.name}, repetition {number + 1} of {options.repeats}")
            repetitions[model.name].append(_repetition(options, model))
    print(table([medians(each) for each in repetitions.values()]))


def _repetition(options: argparse.Namespace, model: Model) -> Row:
    """Measure all sides once, one after the other, so that a machine that drifts hits them all."""
    base = trial(options, model)
    [plain] = in_child("plain", [[*base, f"optimizer.lr={RATE}"]])
    say(f"  plain {plain['seconds']:.1f} s")
    usual = _project([*base, "precision=auto"], [RATE, OTHER_RATE])
    fp32 = _project([*base, "precision=32"], [RATE, OTHER_RATE])
    recomputed = _project([*base, "precision=auto", "reuse=false"], [RATE])
    cold, warm = usual["trials"]
    cold32, warm32 = fp32["trials"]

    def ratio(side: Row) -> float:
        return plain["seconds"] / side["seconds"]

    return {
        "model": model.name,
        "plain s": plain["seconds"],
        "cold s": cold["seconds"],
        "warm s": warm["seconds"],
        "cold ×": ratio(cold),
        "warm ×": ratio(warm),
        "fp32 cold ×": ratio(cold32),
        "fp32 warm ×": ratio(warm32),
        "reuse=false ×": ratio(recomputed["trials"][0]),
        "accuracy plain": plain["accuracy"],
        "accuracy cold": cold["accuracy"],
        "accuracy fp32": cold32["accuracy"],
        "peak MB over imports": usual["peak_mb"],
    }


def _project(overrides: list[str], rates: list[float]) -> Row:
    measured: Row = in_child("project", overrides, rates)
    seconds = ", ".join(f"{each['seconds']:.1f} s" for each in measured["trials"])
    say(f"  {' '.join(overrides[-2:])}: {seconds}")
    return measured


if __name__ == "__main__":
    main()
