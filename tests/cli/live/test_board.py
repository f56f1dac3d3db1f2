"""The table of simulated experiments, whose trials are watched from within."""

from dataclasses import replace

import pytest
from simulated import SimulatedRunner

from tl_hpo.cli.live.board import Board, State
from tl_hpo.cli.live.outline import outline_of
from tl_hpo.memory import MemoryShortError
from tl_hpo.search.executors.base import WorkerDiedError
from tl_hpo.search.experiment import Experiment, Plan
from tl_hpo.search.limits import Limits
from tl_hpo.search.strategy import Step, Strategy
from tl_hpo.search.watching import BegunTrial
from tl_hpo.training.result import EpochRecord

LR = {"optimizer.lr": {"low": 1e-4, "high": 1.0, "log": True}}
EPOCHS = {"head": 3, "finetune": 3}
SETTINGS = {
    "model": "vgg16",
    "head_optimizer": "sgd",
    "head_lr": 0.01,
    "finetune_optimizer": "sgd",
    "finetune_lr": 0.01,
    "delimiting_layer": 2 / 3,
}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Whatever happens is recorded at once, which takes much of these experiments' time."""
    monkeypatch.setattr("tl_hpo.search.experiment.RECORDING", 1.0)


class Watching(SimulatedRunner):
    """A runner that looks at the board in every epoch."""

    def __init__(self, board, **others):
        super().__init__(**others)
        self.board = board
        self.views = []

    def run(self, overrides, folder, report, keep_model):
        self.views.append(self.board.view())

        def reported(record):
            answer = report(record)
            self.views.append(self.board.view())
            return answer

        return super().run(overrides, folder, reported, keep_model)


def plan_of(tmp_path, *steps, **others):
    return Plan(
        folder=tmp_path,
        strategy=Strategy("tried", steps),
        overrides=["model=vgg16", "optimizer=sgd"],
        fixed=[],
        models=["vgg16"],
        sampler={"name": "random"},
        pruner={"name": "none"},
        seed=0,
        **others,
    )


def watch(plan, **others):
    board = Board(outline_of(plan, "tried on phantom", EPOCHS), workers=1)
    runner = Watching(board, **others)
    Experiment(plan, runner, watcher=board).run()
    return board.view(), runner.views


def test_it_follows_an_experiment_from_its_first_trial_to_its_last(tmp_path):
    first, second = Step("shared", 2, LR), Step("layers", 1, LR, inherits="shared")
    end, views = watch(plan_of(tmp_path, first, second))
    assert len(views) == 3 * (1 + 6)  # each trial's beginning, and its epochs
    start = views[0]
    assert (start.step, start.steps, start.step_name) == (1, 2, "shared")
    assert (start.done, start.trials, start.left, start.best) == (0, 2, None, None)
    assert start.workers[0].state is State.STARTING
    assert [view.workers[0].record.epoch for view in views[1:7]] == [1, 2, 3, 1, 2, 3]
    assert views[6].workers[0].state is State.TRAINING

    assert views[7].done == 1
    assert views[7].best.number == 0
    assert 0 < views[7].left <= 0.2 + 0.1  # of the simulation's 0.1 s: this one and the layers'
    assert [view.step for view in views[13:15]] == [1, 2]
    assert (views[14].done, views[14].trials) == (0, 1)

    assert end.workers[0].state is State.IDLE
    assert (end.done, end.left) == (1, 0)
    assert end.elapsed >= views[-1].elapsed >= start.elapsed


def test_a_trial_whose_worker_dies_says_so_until_it_trains_again(tmp_path):
    dies = [None, WorkerDiedError("gone"), None]
    _, views = watch(plan_of(tmp_path, Step("shared", 2, LR)), fails=lambda n: dies[n - 1])
    again = views[8]  # the second trial's second beginning
    assert (again.workers[0].state, again.workers[0].trial.number) == (State.DIED, 1)
    assert views[9].workers[0].state is State.TRAINING


def test_a_trial_that_begins_anew_with_half_the_batch_starts_anew(tmp_path):
    fails = [MemoryShortError("no memory"), None]
    _, views = watch(plan_of(tmp_path, Step("shared", 1, LR)), fails=lambda n: fails[n - 1])
    assert [view.workers[0].state for view in views[:3]] == [
        State.STARTING, State.STARTING, State.TRAINING,
    ]  # fmt: skip
    assert "batch_size=16" in views[1].workers[0].trial.overrides


def test_a_repeated_command_counts_what_was_done_before(tmp_path):
    plan = plan_of(tmp_path, Step("shared", 2, LR))
    watch(plan)
    more = replace(plan, strategy=Strategy("tried", (Step("shared", 3, LR),)))
    _, views = watch(more)
    assert len(views) == 7
    assert (views[0].done, views[0].trials) == (2, 3)
    assert views[0].left is not None
    assert views[0].best is not None


def test_a_step_that_searches_one_study_per_model_counts_them_together(tmp_path):
    space = {"model": {"choices": ["vgg16", "densenet121"]}} | LR
    end, views = watch(plan_of(tmp_path, Step("each", 4, space, each="model")))
    assert {view.trials for view in views} == {4}
    assert (end.step, end.done) == (1, 4)


def test_a_step_whose_axes_are_all_held_fixed_has_one_trial(tmp_path):
    plan = plan_of(tmp_path, Step("shared", 5, LR))
    assert [s.trials for s in outline_of(plan, "", EPOCHS).steps] == [5]
    fixed = replace(plan, fixed=["optimizer.lr"], limits=Limits(max_hours=2))
    assert [s.trials for s in outline_of(fixed, "", EPOCHS).steps] == [1]
    assert outline_of(fixed, "", EPOCHS).limit == 7200


def test_the_epochs_of_a_trial_are_those_that_its_overrides_say(outline):
    board = Board(outline, workers=2)
    board.trial_begun(1, BegunTrial("shared", 0, SETTINGS, ["head.epochs=0", "model=vgg16"]))
    assert board.view().workers[1].epochs == {"head": 0, "finetune": 20}


def test_time_goes_on_between_two_events(outline):
    now = [100.0]
    board = Board(outline, workers=1, clock=lambda: now[0])
    board.recorded({}, None, 50.0)
    board.trial_begun(0, BegunTrial("shared", 0, SETTINGS, []))
    now[0] += 7
    assert board.view().elapsed == 57
    assert board.view().running == (7,)


def record(phase="head", epoch=1, accuracy=0.5):
    return EpochRecord(phase, epoch, epoch, epoch, 0.7, 0.6, accuracy, accuracy, 0.4)


def filled(outline, workers=3):
    board = Board(outline, workers)
    board.step_begun("shared", 10)
    board.trial_begun(0, BegunTrial("shared", 3, SETTINGS, []))
    board.epoch_ended(0, record("finetune", 4, 0.8125))
    board.trial_begun(1, BegunTrial("shared", 4, SETTINGS | {"finetune_lr": 0.1}, []))
    return board.view()


def test_a_row_tells_trial_phase_epoch_accuracy_and_settings(outline, lines):
    told = lines(filled(outline))
    assert told[1].split() == ["Experiment", "shared", "on", "phantom"]
    assert "1 of 2, shared: 0 of 10 trials" in told[2]
    assert told[3].endswith("no trial has ended")
    assert told[4].endswith("0 s so far, time left not known yet")
    rows = [line.split() for line in told[7:]]
    assert rows[0][:6] == ["0", "shared", "3", "fine-tuning", "4/20", "0.8125"]
    assert told[7].endswith("vgg16, sgd 0.01, layer 0.667")
    assert rows[1][:4] == ["1", "shared", "4", "starting"]
    assert told[8].endswith("vgg16, sgd 0.01 then sgd 0.1, layer 0.667")
    assert rows[2] == ["2", "idle"]


def test_a_narrow_terminal_shows_every_row_on_one_line(outline, lines):
    told = lines(filled(outline), width=60)
    assert max(map(len, told)) <= 60
    assert len(told) == len(lines(filled(outline)))
    assert "0.8125" in told[7]
    assert "vgg16" not in told[7]


def test_more_workers_than_rows_are_counted(outline, lines):
    told = lines(filled(outline, workers=40), height=12)
    assert len(told) <= 12
    assert told[-1] == "and 36 more: 36 idle"
