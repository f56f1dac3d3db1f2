"""What mattered: the importance of each hyperparameter, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tl_hpo.reporting.markdown import plain, table
from tl_hpo.reporting.records import Importance, Run
from tl_hpo.search.importance import IMPORTANCE_FILE, LEAST_TRIALS

PHASES = {"head": "classification block", "finetune": "fine-tuning"}
LEARNING_RATE = "learning rate"
FEW_TRIALS = 30
"""Of four axes of a simulated search, the largest share varied from one random search to another
by 13 points (standard deviation) with 20 trials each, by 3 points with 40."""

HEADING = "## What mattered"
MEANING = (
    "Share of the variance in the score that each hyperparameter explains by itself, over the "
    "whole search space (fANOVA; a random forest predicts the score). What only matters in "
    "combination is not seen, and what a step does not search has no share."
)
ROUGH = (
    "Shares from so few trials are rough: other trials of the same search may well order them "
    "otherwise."
)


def name_of(parameter: str) -> str:
    """Return what an axis of a search space is called in words.

    Optimizer and learning rate of a phase are named with their phase, both phases' without.
    """
    group, _, package = parameter.partition("@")
    phase = next((name for name in PHASES if (package or group).startswith(f"{name}.")), "")
    bare = group if package else group.removeprefix(f"{phase}.") if phase else group
    if bare == "optimizer.lr":
        bare = LEARNING_RATE
    words = bare.removeprefix("optimizer.").replace("_", " ").replace(".", " ")
    return f"{words} ({PHASES[phase]})" if phase else words


def by_step(rows: Sequence[Importance]) -> Mapping[str, list[Importance]]:
    """Return the rows by step, the most important parameter first."""
    steps: dict[str, list[Importance]] = {}
    for row in sorted(rows, key=lambda row: row.rank):
        steps.setdefault(row.step, []).append(row)
    return {step: steps[step] for step in dict.fromkeys(row.step for row in rows)}


def scored_trials(run: Run) -> dict[str, int]:
    """Return the number of trials that the shares of each step come from."""
    return {
        step: sum(trial.scored for trial in run.trials if trial.step == step)
        for step in by_step(run.importances)
    }


def section(run: Run) -> list[str]:
    """Return the section as Markdown blocks, none where the search has not come to its end."""
    if not run.importances:
        ended = (run.folder / IMPORTANCE_FILE).is_file()
        return [HEADING, _why_not(run)] if ended else []
    counts = scored_trials(run)
    rows = [
        [plain(name_of(row.parameter)), plain(step), f"{row.importance:.0%}", str(counts[step])]
        for step, own in by_step(run.importances).items()
        for row in own
    ]
    few = min(counts.values()) < FEW_TRIALS
    return [
        HEADING,
        table(["hyperparameter", "step", "share", "from trials"], rows),
        f"{MEANING} {ROUGH}" if few else MEANING,
    ]


def _why_not(run: Run) -> str:
    """Say why no step has shares."""
    most = max(Counter(trial.step for trial in run.searched if trial.scored).values(), default=0)
    if most < LEAST_TRIALS:
        needed = f"too few trials: at least {LEAST_TRIALS} with an accuracy in a step"
        return f"That cannot be told: {needed}, got {most}."
    return (
        "That cannot be told: no step has searched two hyperparameters or more with "
        f"{LEAST_TRIALS} trials or more whose scores differ."
    )
