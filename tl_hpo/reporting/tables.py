"""The tables of a run folder: per_class.csv and summary.md."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from tl_hpo.files import write_csv, write_text
from tl_hpo.reporting import paper
from tl_hpo.reporting.records import Best, ModelMetrics, Run, SideMetrics, Trial
from tl_hpo.training.metrics import HEADLINE, ClassMetrics, averages

COLUMNS = ("class", *(field.name for field in fields(ClassMetrics)))
AVERAGE = "average"

SYNTHETIC = "**The images are synthetic.** Figures from them say nothing about real images."
TUNED_ON = (
    "There is no test side: the search chose its hyperparameters by these validation images, so "
    "its figures are optimistic for new images."
)
TESTED = (
    "The search chose its hyperparameters by the validation images and never saw the test images, "
    "on which the best model was measured once, at the end: the test figures are the ones to "
    "expect on new images."
)
INTERVALS = (
    "In brackets: 95 % bootstrap intervals, drawn by group ({groups}), since images of one group "
    "resemble each other."
)
FEW_GROUPS = 10  # below that a bootstrap is known to be too narrow
FEW = "With so few groups the intervals are rough and rather too narrow."
AVERAGES = (
    "Averages are over the classes that occur. Accuracy is one class against the rest, and its "
    "average is therefore higher than the share of correct images; likewise the average of the "
    "binary mcc is not the mcc over all classes above."
)


def write_per_class(metrics: SideMetrics, classes: Sequence[str], path: Path) -> None:
    """Write a row of metrics per class, and their average as the last row."""
    write_csv(path, COLUMNS, _class_rows(metrics, classes))


def write_summary(run: Run, rows: Sequence[paper.Comparison], path: Path) -> None:
    """Write what came out as Markdown; ``rows`` are set beside the paper's, none for no table."""
    name = run.experiment
    sections = [
        f"# {_plain(name.dataset)}: strategy {_plain(name.strategy)}",
        SYNTHETIC if name.synthetic else "",
        *_best(run),
        *_per_class(run),
        "## Steps",
        _steps(run.trials),
        *_beside_paper(name.dataset, rows),
    ]
    write_text(path, "\n\n".join(section for section in sections if section) + "\n")


def in_words(trial: Trial) -> str:
    """Describe the configuration of a trial in a sentence."""
    parts = [
        f"Model {trial.model}",
        _phase("classification block", trial.head_optimizer, trial.head_lr),
        _phase("fine-tuning", trial.finetune_optimizer, trial.finetune_lr),
    ]
    if trial.delimiting_layer is not None:
        total = f" of {trial.n_layers}" if trial.n_layers else ""
        parts.append(
            f"delimiting layer {trial.delimiting_layer:g}{total} (those before are frozen)"
        )
    return "; ".join(part for part in parts if part) + "."


def steps_of(trials: Sequence[Trial]) -> Mapping[str, list[Trial]]:
    """Return the trials by step, in the order of the file, each step's by number."""
    steps: dict[str, list[Trial]] = {}
    for trial in trials:
        steps.setdefault(trial.step, []).append(trial)
    return {step: sorted(own, key=lambda t: t.number) for step, own in steps.items()}


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the first trial with the highest accuracy, ``None`` if none has one."""
    scored = [trial for trial in trials if trial.scored]
    return max(scored, key=lambda trial: trial.val_accuracy or 0.0, default=None)


def _phase(name: str, optimizer: str, rate: float | None) -> str:
    if not optimizer:
        return ""
    return f"{name} with {optimizer}" + (f" at learning rate {rate:.4g}" if rate else "")


def _best(run: Run) -> list[str]:
    if run.best is None:
        return ["No trial has finished yet."]
    best = run.best
    own = [t for t in run.trials if (t.step, t.number) == (best.step, best.number)]
    again = "python train.py " + " ".join(shlex.quote(entry) for entry in best.overrides)
    return [
        "## Best configuration",
        _plain(in_words(own[0])) if own else "",
        f"Trial {best.number} of step {_plain(best.step)}, validation accuracy "
        f"{best.val_accuracy:.4f}. To train it again:",
        f"```\n{again}\n```",
        "## Metrics",
        _headline(best, run.metrics),
        *_difference(best, run.metrics),
        TUNED_ON if best.test is None else TESTED,
        _about_intervals(run.metrics),
    ]


def _headline(best: Best, metrics: ModelMetrics | None) -> str:
    """Return the metrics of both sides, side by side, and what lies between them."""
    validation = metrics.validation.intervals if metrics else {}
    if best.test is None:
        rows = [[n, _with_interval(best.validation.get(n), validation.get(n))] for n in HEADLINE]
        return _table(["metric", "validation"], rows)
    test = metrics.test.intervals if metrics and metrics.test else {}
    between = metrics.difference if metrics else {}
    rows = [
        [
            name,
            _with_interval(best.validation.get(name), validation.get(name)),
            _with_interval(best.test.get(name), test.get(name)),
            _with_interval(_minus(best.test, best.validation, name), between.get(name), "+.4f"),
        ]
        for name in HEADLINE
    ]
    return _table(["metric", "validation", "test", "test - validation"], rows)


def _minus(one: Mapping[str, float], other: Mapping[str, float], name: str) -> float | None:
    return one[name] - other[name] if name in one and name in other else None


def _with_interval(value: float | None, bounds: Sequence[float] | None, form: str = ".4f") -> str:
    if value is None:
        return ""
    between = f" [{bounds[0]:{form}}, {bounds[1]:{form}}]" if bounds else ""
    return f"{value:{form}}{between}"


def _difference(best: Best, metrics: ModelMetrics | None) -> list[str]:
    """Name what lies between the validation and the test accuracy."""
    gap = None if best.test is None else _minus(best.test, best.validation, "accuracy")
    if gap is None:
        return []
    points = f"{abs(gap) * 100:.1f} points"
    bounds = (metrics.difference if metrics else {}).get("accuracy")
    chance = bounds is not None and bounds[0] <= 0 <= bounds[1]
    words = "below" if gap < 0 else "above"
    told = f"Test accuracy is {points} {words} validation accuracy"
    if chance:
        return [f"{told}, which chance alone could explain."]
    if gap < 0:
        return [f"{told}: so much the search was flattered by the images that it tuned on."]
    return [f"{told}: the test images are easier than those that the search tuned on."]


def _about_intervals(metrics: ModelMetrics | None) -> str:
    if metrics is None or not metrics.validation.intervals:
        return ""
    sides = {"validation": metrics.validation, "test": metrics.test}
    known = {name: side.groups for name, side in sides.items() if side and side.groups}
    groups = ", ".join(f"{number} on the {name} side" for name, number in known.items())
    few = min(known.values(), default=FEW_GROUPS) < FEW_GROUPS
    return INTERVALS.format(groups=groups) + (f" {FEW}" if few else "")


def _per_class(run: Run) -> list[str]:
    if run.metrics is None:
        return []
    sides = {"validation": run.metrics.validation, "test": run.metrics.test}
    sections = []
    for name, side in sides.items():
        if side is not None:
            rows = [
                [_plain(str(row["class"])), *(_number(row[column]) for column in COLUMNS[1:])]
                for row in _class_rows(side, run.experiment.classes)
            ]
            sections += [f"## Classes, {name} side", _table(COLUMNS, rows)]
    return [*sections, AVERAGES]


def _class_rows(metrics: SideMetrics, classes: Sequence[str]) -> list[dict[str, float | str]]:
    named = [*zip(classes, metrics.per_class, strict=True), (AVERAGE, averages(metrics.per_class))]
    return [{"class": name, **asdict(row)} for name, row in named]


def _steps(trials: Sequence[Trial]) -> str:
    header = ["step", "trials", "finished", "cancelled early", "failed", "best", "trial", "hours"]
    return _table(header, [_step_row(step, own) for step, own in steps_of(trials).items()])


def _step_row(step: str, trials: Sequence[Trial]) -> list[str]:
    best = best_trial(trials)
    states = [sum(t.state == state for t in trials) for state in ("COMPLETE", "PRUNED", "FAIL")]
    hours = sum(trial.seconds or 0.0 for trial in trials) / 3600
    return [
        _plain(step),
        str(len(trials)),
        *map(str, states),
        _number(best.val_accuracy if best else None),
        str(best.number) if best else "",
        f"{hours:.2f}",
    ]


def _beside_paper(dataset: str, rows: Sequence[paper.Comparison]) -> list[str]:
    if not rows:
        return []
    cells = [[r.figure, f"{r.published:.2f}", _number(r.ours), r.source] for r in rows]
    configuration = paper.BEST_CONFIGURATION.get(dataset)
    return [
        "## Beside the paper",
        _table(["figure", "published", "ours", "source"], cells),
        f"Its best configuration: {configuration}." if configuration else "",
        paper.PROTOCOL,
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, the first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:d}" if isinstance(value, int) else f"{value:.4f}"


def _plain(text: str) -> str:
    """Escape what Markdown would take for markup; a folder name may hold any of it."""
    for mark in "\\|*_`<[#":
        text = text.replace(mark, f"\\{mark}")
    return text
