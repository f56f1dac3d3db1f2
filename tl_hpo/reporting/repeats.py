"""The best configurations trained again with other seeds, in words."""

from collections.abc import Sequence

from tl_hpo.reporting.markdown import number, plain, table
from tl_hpo.reporting.records import Repeat, Run, Trial
from tl_hpo.search.study import REPEATS
from tl_hpo.search.usual_axes import short_value

MEANING = (
    "The figure of the search is the best of many trials and thus flatters; the mean over fresh "
    "seeds is not picked by its luck, except that the highest of several means still is a little. "
    "± is the standard deviation over the re-trainings. All are of the validation side."
)
FEWER = (
    "Trainings of {count} failed and are in no mean. The configuration is chosen from those of "
    "which most trainings completed, whatever the means of the others."
)


def section(run: Run) -> list[str]:
    """Return the section as Markdown blocks, none where nothing was trained again."""
    if not run.repeats:
        return []
    trials = {(trial.step, trial.number): trial for trial in run.trials}
    ranks = sorted({row.configuration for row in run.repeats})
    own = [[r for r in run.repeats if r.configuration == rank] for rank in ranks]
    rows = [_row(each, trials) for each in own]
    failed = sum(_completed(each) < len(each) for each in own)
    header = ["configuration", "trial", "in the search", "mean ± sd", "re-trainings", "chosen"]
    count = "1 configuration" if failed == 1 else f"{failed} configurations"
    told = [FEWER.format(count=count)] if failed else []
    return ["## Repeats", table(header, rows), MEANING, *told]


def of_the_best(run: Run) -> str:
    """Set the mean that chose the best configuration beside its best training, in a sentence."""
    own = [row for row in run.repeats if row.chosen]
    if run.best is None or run.best.step != REPEATS or not own:
        return ""
    return (
        f"That is the best of {_completed(own)} re-trainings; their mean, by which the "
        f"configuration was chosen, is {_mean(own[0])}."
    )


def briefly(trial: Trial) -> str:
    """Describe the configuration of a trial in a few words, what both phases share once."""
    head = _phase(trial.head_optimizer, trial.head_lr)
    finetune = _phase(trial.finetune_optimizer, trial.finetune_lr)
    parts = [trial.model]
    if head == finetune or not finetune:
        parts.append(head)
    else:
        parts += [f"{head} then {finetune}" if head else finetune]
    if trial.delimiting_layer is not None:
        total = f" of {trial.n_layers}" if trial.n_layers else ""
        parts.append(f"layer {trial.delimiting_layer:g}{total}")
    parts += [f"{key} {short_value(text)}" for key, text in trial.further.items()]
    return ", ".join(part for part in parts if part)


def _phase(optimizer: str, rate: float | None) -> str:
    return optimizer + (f" {rate:.4g}" if rate else "")


def _row(repeats: Sequence[Repeat], trials: dict[tuple[str, int], Trial]) -> list[str]:
    first = repeats[0]
    trial = trials.get((first.step, first.number))
    done = _completed(repeats)
    return [
        plain(briefly(trial)) if trial else "",
        plain(f"{first.step} {first.number}"),
        number(trial.val_accuracy if trial else None),
        _mean(first),
        str(done) if done == len(repeats) else f"{done} of {len(repeats)}",
        "yes" if first.chosen else "",
    ]


def _mean(repeat: Repeat) -> str:
    spread = f" ± {number(repeat.sd)}" if repeat.sd is not None else ""
    return f"{number(repeat.mean)}{spread}"


def _completed(repeats: Sequence[Repeat]) -> int:
    return sum(row.val_accuracy is not None for row in repeats)
