from dataclasses import replace

import pytest

from tl_hpo.reporting.page.limits import best_trials
from tl_hpo.reporting.page.trials import trials
from tl_hpo.reporting.records import read_run


@pytest.fixture
def run(fake_run):
    return read_run(fake_run(images=False))


def numbered(run, scored, failed):
    """Return trials of which every one is better than that before; those that failed come last."""
    first = run.trials[0]
    failure = replace(first, state="FAIL", val_accuracy=None, reason="out of memory")
    good = [replace(first, number=n, val_accuracy=n / scored) for n in range(scored)]
    return [*good, *(replace(failure, number=scored + n) for n in range(failed))]


@pytest.mark.parametrize(
    ("scored", "failed", "kept", "failures"),
    [(40, 5, 18, 2), (30, 1, 19, 1), (15, 10, 15, 5), (3, 40, 3, 17), (10, 10, 10, 10)],
)
def test_failed_trials_keep_a_tenth_and_what_others_leave(run, scored, failed, kept, failures):
    everything = numbered(run, scored, failed)
    best = range(max(0, scored - kept), scored)
    expected = [*best, *range(scored, scored + failures)]
    assert [trial.number for trial in best_trials(everything, 20)] == expected


def test_the_page_tells_what_of_many_trials_it_shows(run):
    body = trials(replace(run, trials=numbered(run, 1200, 300))).body
    assert "Of 1500 trials the best 900 and 100 without an accuracy are here" in body
    assert body.count("out of memory") == 100
