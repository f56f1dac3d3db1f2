"""What keeps a page small however many trials there are."""

from collections.abc import Sequence

from tl_hpo.reporting.records import Trial

MOST_TRIALS = 1000
"""In a table or a chart of a page; trials.csv holds all."""
UNSCORED = 0.1
"""Share of them kept for trials without an accuracy: why they failed is worth knowing."""


def best_trials(trials: Sequence[Trial], most: int = MOST_TRIALS) -> Sequence[Trial]:
    """Return the trials in their order, the best of them where there are more than ``most``.

    Those without an accuracy have a tenth of the room, the first of them, and what others leave.
    """
    if len(trials) <= most:
        return trials
    scored = [index for index, trial in enumerate(trials) if trial.scored]
    others = [index for index, trial in enumerate(trials) if not trial.scored]
    others = others[: max(int(UNSCORED * most), most - len(scored))]
    best = sorted(scored, key=lambda index: _place(trials[index]))[: most - len(others)]
    return [trials[index] for index in sorted([*best, *others])]


def note(trials: Sequence[Trial], most: int = MOST_TRIALS) -> str:
    """Say that not all of them are drawn, where that is so."""
    if len(trials) <= most:
        return ""
    return f"Of {len(trials):,} trials the best {most:,} are drawn."


def _place(trial: Trial) -> tuple[bool, float]:
    complete, accuracy = trial.rank
    return not complete, -accuracy
