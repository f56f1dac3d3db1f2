from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.files import read_csv
from tl_hpo.reporting.best_so_far import standings, write_best_so_far
from tl_hpo.reporting.records import REPEATS, Epoch, Experiment, Run, Trial, read_run

STATES = st.sampled_from(["COMPLETE", "PRUNED", "FAIL", "RUNNING"])


def trial(number, accuracy, state="COMPLETE", step="shared", seconds=10.0):
    failed = state in ("FAIL", "RUNNING")
    return Trial(
        step=step,
        number=number,
        state=state,
        model="vgg16",
        head_optimizer="adam",
        head_lr=0.01,
        finetune_optimizer="adam",
        finetune_lr=0.01,
        delimiting_layer=None,
        n_layers=None,
        val_accuracy=None if failed else accuracy,
        epochs=3,
        seconds=seconds,
        started="",
        reason="",
    )


def run_of(tmp_path, trials, epochs=()):
    return Run(tmp_path, Experiment("kvasir", "shared"), list(trials), list(epochs))


@given(rows=st.lists(st.tuples(st.floats(0, 1), STATES), max_size=20))
def test_the_best_is_the_first_of_the_highest_rank_so_far(tmp_path_factory, rows):
    trials = [trial(number, *row) for number, row in enumerate(rows)]
    ended = [one for one in trials if one.state != "RUNNING"]
    found = standings(run_of(tmp_path_factory.getbasetemp(), trials))
    assert [row.number for row in found] == [one.number for one in ended]
    assert [row.trials for row in found] == list(range(1, len(ended) + 1))
    for index, row in enumerate(found):
        past = ended[: index + 1]
        finished = [one for one in past if one.state == "COMPLETE"]
        judged = finished or [one for one in past if one.state == "PRUNED"]
        best = max(judged, key=lambda one: one.val_accuracy, default=None)
        assert row.best_number == (best.number if best else None)
        assert row.best_val_accuracy == (best.val_accuracy if best else None)


def test_trials_are_in_the_order_of_their_last_epochs(tmp_path):
    epochs = [
        Epoch("shared", n, "head", e, 0.5, t) for n, e, t in ((0, 1, 5), (1, 1, 6), (0, 2, 9))
    ]
    found = standings(run_of(tmp_path, [trial(0, 0.5), trial(1, 0.6)], epochs))
    assert [(row.number, row.elapsed_seconds) for row in found] == [(1, 6), (0, 9)]


def test_a_trial_without_epochs_lasts_its_seconds_from_the_trial_before(tmp_path):
    trials = [trial(0, 0.5), trial(1, 0, "FAIL", seconds=7.0), trial(2, 0, "FAIL", seconds=None)]
    found = standings(run_of(tmp_path, trials, [Epoch("shared", 0, "head", 1, 0.5, 30.0)]))
    assert [row.elapsed_seconds for row in found] == [30, 37, 37]
    assert [row.val_accuracy for row in found] == [0.5, None, None]


def at(moment):
    return f"2025-01-01T00:00:{moment:02}+00:00"


def test_a_failed_trial_without_epochs_ends_when_it_ran_where_steps_take_turns(tmp_path):
    first, second = trial(0, 0.5, step="a"), trial(1, 0.7, step="a")
    failed = trial(0, 0, "FAIL", step="b", seconds=None)
    trials = [
        replace(first, started=at(0)),
        replace(second, started=at(10)),
        replace(failed, started=at(10)),  # in the same second as the one listed before
        replace(trial(1, 0.6, step="b"), started=at(20)),
        replace(trial(0, 0, "FAIL", step="c", seconds=None), started=at(10)),
    ]
    epochs = [
        Epoch("a", 0, "head", 1, 0.5, 10.0),
        Epoch("a", 1, "head", 1, 0.7, 20.0),
        Epoch("b", 1, "head", 1, 0.6, 30.0),
    ]
    found = standings(run_of(tmp_path, trials, epochs))
    ends = {(row.step, row.number): row.elapsed_seconds for row in found}
    assert ends["a", 1] == 20
    assert 10 <= ends["b", 0] <= 11  # not 20, nor 30
    assert 10 <= ends["c", 0] <= 11


def test_a_pause_of_the_experiment_is_no_time_of_its_trials(tmp_path):
    trials = [
        replace(trial(0, 0.5, step="a"), started=at(0)),
        replace(trial(0, 0, "FAIL", step="b", seconds=None), started=at(50)),
    ]
    found = standings(run_of(tmp_path, trials, [Epoch("a", 0, "head", 1, 0.5, 10.0)]))
    assert [row.elapsed_seconds for row in found] == [10, 10]


def test_repeats_are_no_part_of_the_search(tmp_path):
    trials = [trial(0, 0.5), trial(0, 0.9, step=REPEATS)]
    assert [row.best_val_accuracy for row in standings(run_of(tmp_path, trials))] == [0.5]


def test_it_ends_with_what_best_json_names(fake_run, tmp_path):
    run = read_run(fake_run())
    last = standings(run)[-1]
    assert (last.best_step, last.best_number) == (run.best.step, run.best.number)
    assert last.best_val_accuracy == pytest.approx(run.best.val_accuracy)
    assert last.elapsed_seconds == max(epoch.elapsed_seconds for epoch in run.epochs)


def test_the_csv_has_a_row_per_trial(fake_run, tmp_path):
    run = read_run(fake_run())
    found = standings(replace(run, trials=run.trials[:3]))
    write_best_so_far(found, tmp_path / "best_so_far.csv")
    rows = read_csv(tmp_path / "best_so_far.csv")
    assert list(rows[0]) == [
        "step",
        "number",
        "trials",
        "elapsed_seconds",
        "val_accuracy",
        "best_val_accuracy",
        "best_step",
        "best_number",
    ]
    assert [float(row["best_val_accuracy"]) for row in rows] == [r.best_val_accuracy for r in found]
