"""Draws an experiment at one moment, as wide as the terminal is."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tl_hpo.cli.live.board import State, View, WorkerView
from tl_hpo.search.usual_axes import short_value

WIDE = 90  # columns: narrower, the settings of running trials are left out
_OTHER_ROWS = 8  # the heading, two that are empty, the titles, and what is told of the others
_STYLES = {State.IDLE: "dim", State.STARTING: "cyan", State.TRAINING: "green", State.DIED: "red"}
_COLUMNS = {
    "model", "head_optimizer", "head_lr", "finetune_optimizer", "finetune_lr", "delimiting_layer",
}  # fmt: skip
_PHASES = {"head": "block", "finetune": "fine-tuning"}


def draw(view: View, width: int, height: int) -> RenderableType:
    """Return the table, for a terminal of ``width`` columns and ``height`` rows."""
    shown = max(height - _OTHER_ROWS, 1)
    parts: list[RenderableType] = [
        Text(),
        _heading(view, width),
        Text(),
        _workers(view, width, shown),
    ]
    if len(view.workers) > shown:
        parts.append(_others(view.workers[shown:]))
    return Group(*parts)


def _heading(view: View, width: int) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="bold", no_wrap=True, width=11)
    grid.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    grid.add_row("Experiment", Text(view.name))
    grid.add_row("Step", _step(view, bar=width >= WIDE))
    grid.add_row("Best so far", _best(view))
    grid.add_row("Time", f"{in_words(view.elapsed)} so far, {_left(view.left)}")
    return grid


def _step(view: View, *, bar: bool) -> RenderableType:
    if not view.step:
        return Text("none has begun")
    told = Text(
        f"{view.step} of {view.steps}, {view.step_name}: {view.done} of {view.trials} trials"
    )
    if not bar:
        return told
    row = Table.grid(padding=(0, 2))
    row.add_row(told, ProgressBar(total=max(view.trials, 1), completed=view.done, width=20))
    return row


def _best(view: View) -> Text:
    best = view.best
    if best is None:
        return Text("no trial has ended")
    told = Text(f"{best.accuracy:.4f}", style="bold green")
    name = f"  {best.study} trial {best.number}: "
    return told.append(name + settings_in_words(best.settings), style="not bold default")


def _left(seconds: float | None) -> str:
    return "time left not known yet" if seconds is None else _about(seconds)


def _about(seconds: float) -> str:
    return "nearly done" if seconds < 1 else f"about {in_words(seconds)} left"


def _workers(view: View, width: int, shown: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("Worker", justify="right", no_wrap=True)
    for title, least in (("Trial", 8), ("Phase", 11)):
        table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=least)
    for title, least in (("Epoch", 5), ("Accuracy", 8), ("Time", 5)):
        table.add_column(title, justify="right", no_wrap=True, min_width=least)
    wide = width >= WIDE
    if wide:
        table.add_column("Settings", no_wrap=True, overflow="ellipsis", ratio=1)
    for number, (worker, seconds) in enumerate(zip(view.workers, view.running, strict=True)):
        if number < shown:
            cells = [str(number), *_cells(worker, seconds)]
            table.add_row(*(cells if wide else cells[:-1]))
    return table


def _cells(worker: WorkerView, seconds: float) -> list[RenderableType]:
    state = Text(worker.state.value, style=_STYLES[worker.state])
    if worker.trial is None:
        return ["", state, "", "", "", ""]
    trial, record = worker.trial, worker.record
    name = f"{trial.study} {trial.number}"
    settings = settings_in_words(trial.settings)
    if record is None:
        return [name, state, "", "", in_words(seconds), settings]
    phase = Text(_PHASES.get(record.phase, record.phase), style=_STYLES[worker.state])
    planned = worker.epochs.get(record.phase)
    epoch = f"{record.epoch}/{planned}" if planned else str(record.epoch)
    return [name, phase, epoch, f"{record.val_accuracy:.4f}", in_words(seconds), settings]


def _others(workers: tuple[WorkerView, ...]) -> Text:
    """Tell of the workers that the terminal has no rows for."""
    counts = {state: sum(each.state is state for each in workers) for state in State}
    told = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    return Text(f"and {len(workers)} more: {told}", style="dim", no_wrap=True, overflow="ellipsis")


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Return the columns of trials.csv that describe a trial, and what else it chose, in short."""
    head, finetune = (
        f"{settings[f'{phase}_optimizer']} {settings[f'{phase}_lr']:.2g}"
        for phase in ("head", "finetune")
    )
    optimizers = head if head == finetune else f"{head} then {finetune}"
    layer = settings["delimiting_layer"]
    depth = f"{layer:.3g}" if isinstance(layer, float) else str(layer)
    further = "".join(
        f", {key} {short_value(settings[key])}" for key in settings if key not in _COLUMNS
    )
    return f"{settings['model']}, {optimizers}, layer {depth}{further}"


def in_words(seconds: float) -> str:
    """Return a duration in its two largest units at most, such as ``1 h 20 min``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes} min {whole % 60:02d} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
