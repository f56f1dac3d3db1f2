"""The tables of a run folder: per_class.csv and summary.md."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from tl_hpo.files import write_csv, write_text
from tl_hpo.reporting import folds, importance, leakage, paper, repeats, sides, use, warm_start
from tl_hpo.reporting.markdown import SYNTHETIC_MARKDOWN, number, plain, table
from tl_hpo.reporting.records import Best, Run, SideMetrics, Trial
from tl_hpo.search.usual_axes import short_value
from tl_hpo.training.metrics import ClassMetrics, averages

COLUMNS = ("class", *(field.name for field in fields(ClassMetrics)))
AVERAGE = "average"
UNFINISHED = "No trial has finished yet."

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
        f"# {plain(name.dataset)}: strategy {plain(name.strategy)}",
        SYNTHETIC_MARKDOWN if name.synthetic else "",
        *configuration(run),
        *judgement(run),
        *per_class(run),
        *steps(run),
        *repeats.section(run),
        *warm_start.section(run),
        *importance.section(run),
        *beside_paper(name.dataset, rows),
        *split(run),
        *use.calibration(run),
        *use.speed(run),
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
    parts += [f"{key} {short_value(text)}" for key, text in trial.further.items()]
    return "; ".join(part for part in parts if part) + "."


def steps_of(trials: Sequence[Trial]) -> Mapping[str, list[Trial]]:
    """Return the trials by step, in the order of the file, each step's by number."""
    steps: dict[str, list[Trial]] = {}
    for trial in trials:
        steps.setdefault(trial.step, []).append(trial)
    return {step: sorted(own, key=lambda t: t.number) for step, own in steps.items()}


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the best trial by `Trial.rank`, the first among equals; None if none is scored."""
    return max((t for t in trials if t.scored), key=lambda trial: trial.rank, default=None)


def _phase(name: str, optimizer: str, rate: float | None) -> str:
    if not optimizer:
        return ""
    return f"{name} with {optimizer}" + (f" at learning rate {rate:.4g}" if rate else "")


def configuration(run: Run) -> list[str]:
    """Return, as Markdown blocks, what the best trial is and the command that repeats it."""
    if run.best is None:
        return [UNFINISHED]
    return [
        "## Best configuration",
        *found(run, run.best),
        "To train it again:",
        f"```\n{command(run, run.best)}\n```",
        _objective(run.experiment.objective),
    ]


def found(run: Run, best: Best) -> list[str]:
    """Return, as Markdown blocks, the best trial in words and which one it is."""
    trial = run.best_trial
    return [
        plain(in_words(trial)) if trial else "",
        f"Trial {best.number} of step {plain(best.step)}, validation accuracy "
        f"{best.val_accuracy:.4f}. {repeats.of_the_best(run)}".rstrip(),
    ]


def command(run: Run, best: Best) -> str:
    """Return the command line that trains the best trial again."""
    folders = run.experiment.config_dirs
    own = ["--config-dir", folders[0]] if folders else []  # Hydra's option takes one
    if folders[1:]:
        own.append(f"hydra.searchpath=[{','.join(f'file://{each}' for each in folders[1:])}]")
    return shlex.join(["python", "train.py", *own, *best.overrides])


def judgement(run: Run) -> list[str]:
    """Return, as Markdown blocks, the metrics of the best model, over all folds where it has."""
    if run.best is None:
        return []
    return [
        "## Metrics",
        *sides.section(run, run.best),
        _known_images(run),
        *folds.section(run),
    ]


def _known_images(run: Run) -> str:
    """Say that the test side was no secret to the search, where earlier experiments knew it."""
    warning = run.known_images.warning() if run.known_images else ""
    return f"**Warning:** {plain(warning)}" if warning else ""


def _objective(name: str) -> str:
    """Say what the search maximised where that is not the accuracy."""
    if name == "val_accuracy":
        return ""
    metric = plain(name.removeprefix("val_").replace("_", " "))
    return f"The search maximised the {metric} of the validation side, not its accuracy."


def per_class(run: Run) -> list[str]:
    """Return, as Markdown blocks, all metrics and counts of every class, a table per side."""
    if run.metrics is None:
        return []
    sections = []
    for name, side in run.metrics.sides().items():
        rows = [
            [plain(str(row["class"])), *(number(row[column]) for column in COLUMNS[1:])]
            for row in _class_rows(side, run.experiment.classes)
        ]
        sections += [f"## Classes, {name} side", table(COLUMNS, rows)]
    return [*sections, AVERAGES]


def _class_rows(metrics: SideMetrics, classes: Sequence[str]) -> list[dict[str, float | str]]:
    named = [*zip(classes, metrics.per_class, strict=True), (AVERAGE, averages(metrics.per_class))]
    return [{"class": name, **asdict(row)} for name, row in named]


def steps(run: Run) -> list[str]:
    """Return, as Markdown blocks, what each step came to, and why one ended early."""
    endings = "\n".join(f"- {plain(ending.sentence())}" for ending in run.endings)
    return ["## Steps", _steps(run.trials), endings]


def _steps(trials: Sequence[Trial]) -> str:
    header = [
        "step",
        "trials",
        "finished",
        "cancelled early",
        "failed",
        "best accuracy",
        "trial",
        "hours",
    ]
    return table(header, [_step_row(step, own) for step, own in steps_of(trials).items()])


def _step_row(step: str, trials: Sequence[Trial]) -> list[str]:
    best = best_trial(trials)
    states = [sum(t.state == state for t in trials) for state in ("COMPLETE", "PRUNED", "FAIL")]
    hours = sum(trial.seconds or 0.0 for trial in trials) / 3600
    return [
        plain(step),
        str(len(trials)),
        *map(str, states),
        number(best.val_accuracy if best else None),
        str(best.number) if best else "",
        f"{hours:.2f}",
    ]


def split(run: Run, *, pairs: bool = True, named: bool = True) -> list[str]:
    """Return, as Markdown blocks, what the split came to, and what an audit of it found.

    Without ``pairs`` the worst pairs of the audit are left out; without ``named``, the names of
    all files and groups, which may tell whose images they are.
    """
    came_to = run.experiment.split
    told = [plain(line) for line in came_to.get("lines", [])]
    warnings = came_to.get("warnings" if named else "warnings_without_names", [])
    told += [f"**Warning:** {plain(line)}" for line in warnings]
    heading, *audited = (
        leakage.section(run.audit, pairs=pairs, named=named) if run.audit else [leakage.HEADING]
    )
    lines = "\n".join(f"- {line}" for line in told)
    return [heading, lines, *audited] if told or audited else []


def beside_paper(dataset: str, rows: Sequence[paper.Comparison]) -> list[str]:
    """Return, as Markdown blocks, the paper's figures and ours; none without ``rows``."""
    if not rows:
        return []
    cells = [[r.figure, f"{r.published:.2f}", number(r.ours), r.source] for r in rows]
    configuration = paper.BEST_CONFIGURATION.get(dataset)
    return [
        "## Beside the paper",
        table(["figure", "published", "ours", "source"], cells),
        f"Its best configuration: {configuration}." if configuration else "",
        paper.PROTOCOL,
    ]
