from itertools import pairwise

import pytest

from tl_hpo.reporting.best_so_far import Standing
from tl_hpo.reporting.figures import best_so_far
from tl_hpo.reporting.figures.style import drawing

pytestmark = pytest.mark.usefixtures("coarse")


def stood(bests, steps=None, seconds=60.0):
    """A row per trial; a trial is the best where its value is new."""
    steps = steps or ["shared"] * len(bests)
    return [
        Standing(step, n, n + 1, seconds * (n + 1), best, best, step, bests.index(best))
        for n, (best, step) in enumerate(zip(bests, steps, strict=True))
    ]


@pytest.fixture
def panels(monkeypatch):
    drawn, panel = [], best_so_far._panel
    monkeypatch.setattr(
        best_so_far, "_panel", lambda axes, *told: (panel(axes, *told), drawn.append(axes))
    )
    return drawn


def lines_of(axes):
    """Return the lines of strategies, without hairlines."""
    return [line for line in axes.lines if not line.get_label().startswith("_")]


def test_a_line_per_strategy_over_trials_and_over_time(tmp_path, panels):
    runs = {"shared": stood([0.5, 0.5, 0.7]), "joint": stood([0.6, 0.8], seconds=90)}
    best_so_far.draw(runs, "shared", tmp_path / "a.png", "title")
    told = [
        {line.get_label(): [*map(list, line.get_data())] for line in lines_of(axes)}
        for axes in panels
    ]
    assert told == [
        {"shared": [[1, 2, 3], [0.5, 0.5, 0.7]], "joint": [[1, 2], [0.6, 0.8]]},
        {"shared": [[1, 2, 3], [0.5, 0.5, 0.7]], "joint": [[1.5, 3], [0.6, 0.8]]},
    ]


def test_steps_of_this_run_are_marked_at_the_end_of_the_trial_before(tmp_path, panels):
    rows = stood([0.5, 0.6, 0.7], ["shared", "shared", "layers"])
    best_so_far.draw({"a": rows, "b": rows}, "b", tmp_path / "a.png", "title")
    hairlines = [line for line in panels[0].lines if line.get_label().startswith("_")]
    assert [line.get_xdata()[0] for line in hairlines] == [0, 2]
    assert [text.get_text() for text in panels[0].texts] == ["shared", "layers"]
    assert lines_of(panels[0])[1].get_label() == "b (its steps marked)"


def test_names_of_steps_do_not_overlap(tmp_path, panels):
    rows = stood([0.5] * 200, [f"step {n}" for n in range(200)])
    best_so_far.draw({"a": rows}, "a", tmp_path / "a.png", "title")
    places = [text.get_position()[0] for text in panels[0].texts]
    assert len(places) < 35
    assert min(b - a for a, b in pairwise(places)) >= 0.035 * 200


@pytest.mark.parametrize("seconds", [0.0, 30.0])
@pytest.mark.parametrize("best", [None, 0.5])
def test_one_trial_is_drawn_within_the_panel(tmp_path, panels, best, seconds):
    best_so_far.draw({"a": stood([best], seconds=seconds)}, "a", tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size
    assert all(axes.get_xlim()[1] > max(axes.lines[0].get_xdata()) for axes in panels)


def test_markers_are_where_another_trial_became_the_best(tmp_path):
    with drawing(tmp_path / "a.png", 4, 3, "title") as figure:
        axes = figure.add_subplot()
        rows = stood([0.5, 0.5, 0.7, 0.7])
        best_so_far._panel(axes, {"a": rows}, "a", lambda row: row.trials)
        assert axes.lines[0].get_markevery() == [0, 2]
