import pytest

from tl_hpo.cli.live.time_left import seconds_left


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (None, {"mean": None}),
        (50, {"unbegun": 5}),
        (25, {"unbegun": 5, "workers": 2}),
        (10, {"unbegun": 1, "workers": 4}),  # one worker trains it, from beginning to end
        (6, {"running": [4]}),
        (0, {"running": [40]}),  # longer than usual: any moment now
        (8, {"running": [9, 2], "workers": 2}),
        (14, {"unbegun": 2, "running": [4, 8], "workers": 2}),
        (35, {"unbegun": 1, "later": [5], "workers": 2}),  # no later step begins before
        (10, {"later": [1, 0], "workers": 4}),
        (15, {"unbegun": 5, "limit": 5}),  # the last trial begins just before the limit
        (10, {"unbegun": 5, "limit": -3}),
        (50, {"unbegun": 5, "limit": 100}),
    ],
)
def test_time_left_follows_from_what_trials_took(expected, arguments):
    usual = {"mean": 10.0, "unbegun": 0, "running": [], "later": [], "workers": 1, "limit": None}
    assert seconds_left(**usual | arguments) == expected
