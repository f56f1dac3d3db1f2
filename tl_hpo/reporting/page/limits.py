"""What keeps a page small however many trials there are."""

from collections.abc import Sequence

from tl_hpo.reporting.records import Trial

MOST_TRIALS = 1000
"""In a table or a chart of a page; trials.csv holds all."""


def best_trials(trials: Sequence[Trial], most: int = MOST_TRIALS) -> Sequence[Trial]:
    """Return the trials in their order, the best of them where there are more than ``most``."""
    if len(trials) <= most:
        return trials
    ranked = sorted(range(len(trials)), key=lambda index: _place(trials[index]))
    return [trials[index] for index in sorted(ranked[:most])]


def note(trials: Sequence[Trial], most: int = MOST_TRIALS) -> str:
    """Say that not all of them are drawn, where that is so."""
    if len(trials) <= most:
        return ""
    return f"Of {len(trials):,} trials the best {most:,} are drawn."


def _place(trial: Trial) -> tuple[bool, bool, float]:
    complete, accuracy = trial.rank
    return not trial.scored, not complete, -accuracy
