from dataclasses import replace

import pytest

from tl_hpo.reporting.best_so_far import Standing
from tl_hpo.reporting.page.time_charts import (
    accuracy_over_time,
    experiments_over_time,
    standing_charts,
)
from tl_hpo.reporting.records import read_run


@pytest.fixture
def epoch(fake_run):
    return read_run(fake_run(images=False)).epochs[0]


def epochs_of(epoch, trials, each):
    """Return the epochs of trials that become better and better."""
    return [
        replace(epoch, number=n, epoch=e, elapsed_seconds=n * each + e, val_accuracy=n / trials)
        for n in range(trials)
        for e in range(each)
    ]


def drawn(chart):
    """Return the epochs at the points of the chart."""
    lines = [trace.customdata for trace in chart.figure.data if trace.customdata is not None]
    return {tuple(each) for line in lines for each in line if each is not None}


def count(chart):
    return sum(
        each is not None
        for trace in chart.figure.data
        for each in (trace.customdata if trace.customdata is not None else ())
    )


def test_the_best_trials_are_drawn_and_the_note_tells_how_many_epochs(epoch):
    chart = accuracy_over_time(epochs_of(epoch, 300, 40), "")
    assert "Of 12,000 epochs 10,000, of the best trials, are drawn." in chart.note
    assert {number for number, _ in drawn(chart)} == set(range(50, 300))


def test_experiments_share_the_room_of_a_chart(epoch):
    runs = {name: epochs_of(epoch, 100, 30) for name in "abcde"}
    chart = experiments_over_time(runs, "")
    assert count(chart) == 5 * (10_000 // 5 // 30) * 30
    assert "Of 15,000 epochs 9,900, of the best trials, are drawn." in chart.note
    assert "are drawn" not in experiments_over_time({"a": runs["a"], "b": runs["b"]}, "").note


def test_the_best_trial_is_drawn_though_there_is_no_room_for_it(epoch):
    chart = experiments_over_time({"a": epochs_of(epoch, 3, 40)}, "", most=10)
    assert {number for number, _ in drawn(chart)} == {2}
    assert "Of 120 epochs 40, of the best trials, are drawn." in chart.note


def test_a_line_without_height_keeps_an_axis_of_accuracies():
    rows = [Standing("shared", n, n, 10.0 * n, 0.6, 0.6, "shared", 0) for n in (1, 2)]
    for chart in standing_charts({"one": rows}, ""):
        assert chart.figure.layout.yaxis.range == (pytest.approx(0.55), pytest.approx(0.65))
    rising = [*rows, replace(rows[1], best_val_accuracy=0.7)]
    assert standing_charts({"one": rising}, "")[0].figure.layout.yaxis.range is None
