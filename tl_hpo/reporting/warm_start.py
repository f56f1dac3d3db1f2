"""What a search has learnt from earlier experiments, in words."""

from collections import Counter

from tl_hpo.reporting.markdown import number, plain, table
from tl_hpo.reporting.records import Run
from tl_hpo.search.warm_file import WARM_FILE, Brought

NONE = "No configuration of theirs fits."
NO_ACCURACY = (
    "Without an accuracy here: the trial failed, equals another one, or has not had its turn."
)
LEFT_OUT = f"Left out, for they have no place in the step ({WARM_FILE} names each):"


def section(run: Run) -> list[str]:
    """Return the section as Markdown blocks, none where nothing earlier was looked at."""
    if not (run.brought or run.left_out):
        return []
    folders = ", ".join(run.known_images.folders) if run.known_images else ""
    counts = Counter((each.step, each.kind) for each in run.left_out)
    left = [f"- step {plain(step)}, {n}: {plain(kind)}" for (step, kind), n in counts.items()]
    return [
        "## Learnt from earlier experiments",
        f"From {plain(folders)}, the best configurations that fit were the first trials:",
        *(_brought(run) if run.brought else [NONE]),
        *([LEFT_OUT, "\n".join(left)] if left else []),
    ]


def _brought(run: Run) -> list[str]:
    here = {(trial.step, trial.number): trial.val_accuracy for trial in run.trials}
    header = ["trial", "of", "accuracy there", "accuracy here"]
    rows = [_row(each, here) for each in run.brought]
    return [table(header, rows), "" if all(row[-1] for row in rows) else NO_ACCURACY]


def _row(brought: Brought, here: dict[tuple[str, int], float | None]) -> list[str]:
    return [
        plain(f"{brought.step} {brought.number}"),
        plain(brought.source),
        number(brought.accuracy),
        number(here.get((brought.step, brought.number))),
    ]
