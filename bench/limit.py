"""How far a trial is from what its arithmetic takes, and where the rest of the time goes.

The unavoidable arithmetic: the whole backbone once for every image, as cold trials need it, and in
every epoch what lies behind the cut, forward and backward on the training side, forward on the
validation side. Its operations are counted on the modules that run, and divided by the rate of a
product of matrices in the same precision on the same machine. The shares of the trial's seconds
are exclusive and add up to 100 %; on a GPU the clock waits for the device, which slows it a
little. A single trial has no search: see bench.one_experiment for what proposals take.

Estimated for 2 cores and 749 images: 8 minutes.
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

TRIALS = ("cold", "warm")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = make_parser("limit", __doc__)
    add_common(parser)
    parser.add_argument("--precision", choices=("auto", "32", "bf16"), default="auto")
    options = parser.parse_args(arguments)
    begin("limit", arguments, options)
    rows: dict[tuple[str, str], list[Row]] = {}
    for number in range(options.repeats):
        for model in options.models:
            say(f"{model.name}, repetition {number + 1} of {options.repeats}")
            for which, row in zip(TRIALS, _repetition(options, model), strict=True):
                rows.setdefault((model.name, which), []).append(row)
    print(table([medians(each) for each in rows.values()]))


def _repetition(options: argparse.Namespace, model: Model) -> list[Row]:
    overrides = [*trial(options, model), f"precision={options.precision}"]
    measured = in_child("watched_trials", overrides, [RATE, OTHER_RATE])
    return [_row(model, *each) for each in zip(TRIALS, measured, strict=True)]


def _row(model: Model, which: str, measured: Row) -> Row:
    seconds, arithmetic = measured["seconds"], measured["arithmetic"]
    say(f"  {which} {seconds:.1f} s, arithmetic {arithmetic:.1f} s")
    shares = {f"{part} %": 100 * spent / seconds for part, spent in measured["parts"].items()}
    return {
        "model": model.name,
        "trial": which,
        "s": seconds,
        "arithmetic s": arithmetic,
        "×": seconds / arithmetic,
        "GFLOP": measured["operations"] / 1e9,
        "GFLOP/s of a product": measured["operations"] / 1e9 / arithmetic,
        **shares,
        "search %": 0.0,
    }


if __name__ == "__main__":
    main()
