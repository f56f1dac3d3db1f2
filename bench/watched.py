"""``optimize.py`` in this process, watched: ``python -m bench.watched OUT.json OVERRIDES...``.

The search itself is what the command runs; its functions are wrapped, and what they tell goes to
OUT.json: see `measure`. All imports come first, so that they are no part of the search.
"""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
import torch._dynamo  # noqa: F401  (optimizers import it when first used)
from optuna.trial import FrozenTrial

from bench import memory
from bench.ledger import Ledger, replaced
from tl_hpo.cli import optimize as command
from tl_hpo.data.store import DecodedStore
from tl_hpo.models.reuse.frozen import FrozenWork
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.study import OVERRIDES, RESULT, SETTINGS
from tl_hpo.training import trial as trial_module
from tl_hpo.training.result import TrialResult
from tl_hpo.training.runner import LocalRunner

SCRIPT = Path(__file__).resolve().parent.parent / "optimize.py"
BETWEEN, SAMPLER, REPORT = "between", "sampler", "report"
WORK: tuple[tuple[Any, str], ...] = (  # what a trial is for; the rest is between trials
    (DecodedStore, "images"),
    (trial_module, "calibrate"),
    (FrozenWork, "sources"),
)


class Watch:
    """What is learnt of a search while it runs.

    Attributes:
        gaps: seconds between the last epoch of a trial and the first of the next that were no
            work on images: proposal, bookkeeping, set-up.
        proposals: seconds of each.
        experiment: the one that ran.

    """

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.proposals: list[float] = []
        self.experiment: Experiment | None = None
        self.ledger = Ledger(BETWEEN)
        self._first_phase = True
        self._at_end: float | None = None  # of the last phase

    def _idle(self) -> float:
        spent = self.ledger.spent()
        return spent.get(BETWEEN, 0.0) + spent.get(SAMPLER, 0.0)

    def run_trial(self, original: Callable[..., TrialResult]) -> Callable[..., TrialResult]:
        """Wrap what runs a trial: notice that the next phase is its first."""

        def run(*args: Any, **kwargs: Any) -> TrialResult:
            self._first_phase = True
            return original(*args, **kwargs)

        return run

    def run_phase(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what runs a phase: note what lay between it and the last one."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if self._first_phase and self._at_end is not None:
                self.gaps.append(self._idle() - self._at_end)
            self._first_phase = False
            try:
                with self.ledger.charging("phase"):
                    return original(*args, **kwargs)
            finally:
                self._at_end = self._idle()

        return run

    def ask(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what proposes a trial: note how long that takes."""

        def ask(*args: Any, **kwargs: Any) -> Any:
            before = self.ledger.spent().get(SAMPLER, 0.0)
            with self.ledger.charging(SAMPLER):
                trial = original(*args, **kwargs)
            self.proposals.append(self.ledger.spent()[SAMPLER] - before)
            return trial

        return ask

    def run_experiment(self, original: Callable[..., FrozenTrial]) -> Callable[..., FrozenTrial]:
        """Wrap what runs an experiment: keep hold of it."""

        def run(experiment: Experiment) -> FrozenTrial:
            self.experiment = experiment
            return original(experiment)

        return run

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wrap the functions of a search."""
        wrapped: tuple[tuple[Any, str, Any], ...] = (
            (LocalRunner, "run", self.run_trial),
            (trial_module, "run_phase", self.run_phase),
            (optuna.Study, "ask", self.ask),
            (Experiment, "run", self.run_experiment),
        )
        with ExitStack() as stack:
            for owner, name, wrap in wrapped:
                stack.enter_context(replaced(owner, name, wrap(getattr(owner, name))))
            for place, name in WORK:
                stack.enter_context(self.ledger.watching(place, name, "work"))
            stack.enter_context(self.ledger.watching(command, "write_report", REPORT))
            yield


def measure(overrides: list[str]) -> dict[str, Any]:
    """Run ``optimize.py`` with ``overrides``.

    Returns:
        ``seconds`` of everything after the imports, ``report`` of them for tables and figures;
        ``gaps`` and ``proposals`` in seconds; ``images_passed`` through frozen layers;
        ``peak_mb`` of resident memory over that after the imports; ``trials``.

    """
    memory.reset_peak()
    before = memory.resident()
    watch = Watch()
    sys.argv = [str(SCRIPT), *overrides, "executor=inline"]  # in a worker nothing could be seen
    with watch.watching():
        runpy.run_path(str(SCRIPT), run_name="__main__")
    spent = watch.ledger.spent()
    assert watch.experiment is not None  # else optimize.py would have left with an error
    return {
        "seconds": sum(spent.values()),
        "report": spent.get(REPORT, 0.0),
        "gaps": watch.gaps,
        "proposals": watch.proposals,
        "images_passed": _images_passed(watch.experiment),
        "peak_mb": memory.peak() - before,
        "trials": list(_trials(watch.experiment)),
    }


def _images_passed(experiment: Experiment) -> int:
    assert isinstance(experiment.runner, LocalRunner)
    frozen = experiment.runner.worker.frozen
    return frozen.images_passed if frozen else 0


def _trials(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """Yield the trials that have a result, with what repeats them through another loop."""
    for step, study in experiment.studies.items():
        for trial in study.trials:
            result = trial.user_attrs.get(RESULT)
            if result:
                yield {
                    "step": step,
                    "model": trial.user_attrs[SETTINGS]["model"],
                    "state": trial.state.name,
                    "overrides": trial.user_attrs[OVERRIDES],
                    "epochs": {phase: each["epochs"] for phase, each in result["phases"].items()},
                    "delimiting_layer": result["delimiting_layer"],
                    "accuracy": result["val_accuracy"],
                }


def main(arguments: list[str]) -> None:
    """Run the search and write what was learnt."""
    out, *overrides = arguments
    Path(out).write_text(json.dumps(measure(overrides)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
