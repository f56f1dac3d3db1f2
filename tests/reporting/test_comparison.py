from dataclasses import replace

import pytest

from tl_hpo.reporting.comparison import compared
from tl_hpo.reporting.records import Experiment, read_run


@pytest.fixture
def run_of(fake_run):
    """Return a function that makes a run whose only trial has this accuracy."""
    like = read_run(fake_run(n_trials=1, images=False))

    def make(name, accuracy, strategy=None, state="COMPLETE"):
        trials = [replace(like.trials[0], state=state, val_accuracy=accuracy)]
        folder, told = like.folder.with_name(name), Experiment("kvasir", strategy or name)
        return replace(like, folder=folder, experiment=told, trials=trials)

    return make


def told(run, related):
    found = compared(run, related)
    return [each.folder.name for each in found.runs], found.words


def test_this_one_is_always_among_the_six(run_of):
    runs = [run_of(f"s{n}", n / 20) for n in range(12)]
    best = ["s10", "s11", "s6", "s7", "s8", "s9"]
    assert told(runs[11], runs[:11]) == (best, "the best 6 of 12 strategies")
    others = ["s0", "s10", "s11", "s7", "s8", "s9"]
    assert told(runs[0], runs[1:]) == (others, "this and the best 5 of 12 strategies")


def test_experiments_of_one_strategy_are_called_experiments(run_of):
    runs = [run_of(f"shared-{n}", n / 20, "shared") for n in range(3)]
    assert told(runs[0], runs[1:])[1] == "all experiments"
    assert told(runs[0], [run_of("joint", 0.5)])[1] == "all strategies"
    assert told(runs[0], []) == (["shared-0"], "")


def test_what_has_no_accuracy_is_not_compared_with(run_of):
    own = run_of("own", None, state="FAIL")
    assert told(own, [run_of("failed", None, state="FAIL")]) == (["own"], "")
    assert told(own, [run_of("other", 0.5)]) == (["other", "own"], "all strategies")
