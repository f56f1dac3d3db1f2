import threading
import time

import pytest

from tl_hpo.search.pacing import Paced


def until(holds):
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError("never came about")


@pytest.fixture
def lock():
    return threading.RLock()


def test_what_takes_no_time_is_done_every_time(lock, monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    calls = []
    paced = Paced(lambda: calls.append(1), lock, 0.1)
    for _ in range(5):
        paced()
    assert len(calls) == 5


def test_what_takes_long_is_done_at_its_share_of_the_time_and_never_forgotten(lock):
    calls = []

    def act():
        calls.append(time.monotonic())
        time.sleep(0.05)

    paced = Paced(act, lock, 0.2)
    paced()
    for _ in range(20):
        paced()  # all within moments: one of them is due later
    assert len(calls) == 1
    until(lambda: len(calls) == 2)
    assert calls[1] - calls[0] >= 0.25  # 0.05 s of a fifth of the time
    time.sleep(0.4)
    assert len(calls) == 2


def test_now_is_now_and_takes_the_place_of_what_was_held_back(lock):
    calls = []

    def act():
        calls.append(1)
        time.sleep(0.02)

    paced = Paced(act, lock, 0.1)
    paced()
    paced()
    paced.now()
    assert len(calls) == 2
    time.sleep(0.3)
    assert len(calls) == 2


def test_a_failure_is_raised_where_it_can_be_and_met_again_where_it_cannot(lock):
    calls = []

    def act():
        calls.append(1)
        time.sleep(0.02)
        if len(calls) > 1:
            raise OSError("full")

    paced = Paced(act, lock, 0.2)
    paced()
    paced()
    until(lambda: len(calls) == 2)  # held back: nobody to raise it to
    with pytest.raises(OSError, match="full"):
        paced()
    with pytest.raises(OSError, match="full"):
        paced.now()
