import math
from dataclasses import replace

import pytest

from tl_hpo.reporting.figures import convergence
from tl_hpo.reporting.figures.convergence import draw, scaled_points
from tl_hpo.reporting.records import read_run


@pytest.fixture
def trial(fake_run):
    return replace(
        read_run(fake_run(n_trials=1, images=False)).trials[0],
        model="a",
        head_lr=0.01,
        finetune_lr=0.01,
        delimiting_layer=5,
        n_layers=10,
        finetune_optimizer="sgd",
    )


def _distance(trials):
    return math.dist(*scaled_points(trials))


def test_equal_trials_have_no_distance(trial):
    assert _distance([trial, trial]) == 0


def test_another_category_is_one_apart(trial):
    assert _distance([trial, replace(trial, model="b")]) == pytest.approx(1)


def test_learning_rate_counts_by_its_logarithm(trial):
    trials = [replace(trial, head_lr=rate) for rate in (0.001, 0.01, 0.1)]
    points = scaled_points(trials)
    assert math.dist(points[0], points[1]) == pytest.approx(0.5)
    assert math.dist(points[0], points[2]) == pytest.approx(1)


def test_parameters_that_a_trial_lacks_count_for_nothing(trial):
    bare = replace(trial, head_lr=None, finetune_lr=None, delimiting_layer=None, n_layers=None)
    assert _distance([bare, bare]) == 0


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("states", [("COMPLETE",), ("FAIL",), ("PRUNED", "FAIL", "COMPLETE")])
@pytest.mark.parametrize("with_points", [True, False])
def test_draws_trials_of_any_state(tmp_path, trial, states, with_points):
    trials = [replace(trial, number=n, state=state) for n, state in enumerate(states)]
    points = scaled_points(trials) if with_points else None
    draw(trials, tmp_path / "a.png", "title", points)
    assert (tmp_path / "a.png").stat().st_size


@pytest.mark.usefixtures("coarse")
def test_the_line_is_of_the_trial_that_the_search_would_choose(tmp_path, trial, monkeypatch):
    panels = []
    monkeypatch.setattr(convergence, "bound_accuracy", panels.append)
    told = [("PRUNED", 0.9), ("COMPLETE", 0.5), ("PRUNED", 0.8), ("COMPLETE", 0.6), ("FAIL", None)]
    trials = [
        replace(trial, number=n, state=state, val_accuracy=accuracy)
        for n, (state, accuracy) in enumerate(told)
    ]
    draw(trials, tmp_path / "a.png", "title")
    (line,) = [line for line in panels[0].lines if line.get_label() == "best so far"]
    assert line.get_ydata().tolist() == [0.9, 0.5, 0.5, 0.6, 0.6]


def test_what_is_searched_beyond_the_usual_axes_counts_as_well(trial):
    sizes = [replace(trial, further={"batch_size": size}) for size in ("8", "16", "24")]
    points = scaled_points(sizes)
    assert math.dist(points[0], points[1]) == pytest.approx(0.5)
    names = [replace(trial, further={"imbalance": name}) for name in ("none", "class_weights")]
    assert _distance(names) == pytest.approx(1)
    assert _distance([trial, names[0]]) == pytest.approx(1)  # one that it does not apply to
