"""The best trial so far: what a search would have come to, had it ended earlier."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from tl_hpo.files import write_csv
from tl_hpo.reporting.records import Epoch, Run, Trial

OVER = ("COMPLETE", "PRUNED", "FAIL")
"""States of a trial that has ended."""
RESOLUTION = 1.0
"""Seconds to which it is known when a trial began."""


@dataclass(frozen=True)
class Standing:
    """A row of best_so_far.csv: how the search stood when a trial ended.

    Attributes:
        step: of the trial that ended.
        number: of that trial.
        trials: that have ended until then, this one included.
        elapsed_seconds: since the start of the experiment.
        val_accuracy: of that trial, None where it failed.
        best_val_accuracy: of the best trial until then, None while there is none.
        best_step: of the best trial.
        best_number: of the best trial.
    """

    step: str
    number: int
    trials: int
    elapsed_seconds: float
    val_accuracy: float | None
    best_val_accuracy: float | None
    best_step: str
    best_number: int | None


def standings(run: Run) -> list[Standing]:
    """Return how the search stood at the end of each of its trials, in the order of the ends.

    The best is what the search would have returned, by validation accuracy: a trial cancelled
    early is below all others, and of equals the first counts.
    """
    rows: list[Standing] = []
    best: Trial | None = None
    for count, (seconds, trial) in enumerate(_ends(run.searched, run.searched_epochs), start=1):
        if trial.scored and (best is None or trial.rank > best.rank):
            best = trial
        rows.append(
            Standing(
                step=trial.step,
                number=trial.number,
                trials=count,
                elapsed_seconds=seconds,
                val_accuracy=trial.val_accuracy if trial.scored else None,
                best_val_accuracy=best.val_accuracy if best else None,
                best_step=best.step if best else "",
                best_number=best.number if best else None,
            )
        )
    return rows


def write_best_so_far(rows: Sequence[Standing], path: Path) -> None:
    """Write best_so_far.csv: a row per trial that has ended."""
    columns = [entry.name for entry in fields(Standing)]
    write_csv(path, columns, (asdict(row) for row in rows))


def _ends(trials: Sequence[Trial], epochs: Sequence[Epoch]) -> list[tuple[float, Trial]]:
    """Return when each trial ended, in seconds, and the trial, in the order of the ends."""
    return sorted(_end_of_each(trials, epochs), key=lambda end: end[0])


def _end_of_each(trials: Sequence[Trial], epochs: Sequence[Epoch]) -> Iterator[tuple[float, Trial]]:
    """Yield the last epoch of a trial, or else when it began plus its seconds.

    It began when the one that began just before it ended, or earlier where they ran side by side.
    The file lists the trials step by step, but steps may take turns.
    """
    last: dict[tuple[str, int], float] = {}
    for epoch in epochs:
        key = epoch.step, epoch.number
        last[key] = max(epoch.elapsed_seconds, last.get(key, 0.0))
    clock, before = 0.0, None
    for trial in sorted(trials, key=_began):
        if trial.state in OVER:
            began = max(0.0, clock - (_overlap(before, trial) if before else 0.0))
            clock = last.get((trial.step, trial.number), began + (trial.seconds or 0.0))
            before = trial
            yield clock, trial


def _began(trial: Trial) -> float:
    """Return when a trial began, in seconds since 1970; 0 where that is not known."""
    return datetime.fromisoformat(trial.started).timestamp() if trial.started else 0.0


def _overlap(before: Trial, trial: Trial) -> float:
    """Return how many seconds one trial ran on after the next one had begun; a pause is none."""
    if not (before.started and before.seconds and trial.started):
        return 0.0
    return max(0.0, _began(before) + before.seconds - _began(trial) - RESOLUTION)
