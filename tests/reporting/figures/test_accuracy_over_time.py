import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.reporting.figures.accuracy_over_time import best_so_far, draw, time_unit
from tl_hpo.reporting.records import Epoch


def _epoch(elapsed, accuracy, phase="head", number=0):
    return Epoch("shared", number, phase, 1, accuracy, elapsed)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.none() | st.floats(0, 1))))
def test_best_so_far_is_the_running_maximum_over_time(rows):
    times, highest = best_so_far([_epoch(*row) for row in rows])
    known = sorted(row for row in rows if row[1] is not None)
    assert times == [time for time, _ in known]
    assert highest == np.maximum.accumulate([value for _, value in known]).tolist()


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(0, "seconds"), (100, "seconds"), (121, "minutes"), (9000, "hours"), (200_000, "days")],
)
def test_time_unit_is_the_largest_of_which_there_are_two(seconds, unit):
    assert time_unit([_epoch(seconds, 0.5)])[0] == unit


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("phases", [("head", "finetune"), ("finetune",), ("head",)])
def test_draws_trials_of_any_phases(tmp_path, phases):
    epochs = [_epoch(10 * i, 0.5 if i else None, phase) for i, phase in enumerate(phases)]
    draw(epochs, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size
