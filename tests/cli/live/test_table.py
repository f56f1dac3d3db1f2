import pytest

from tl_hpo.cli.live.table import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (1500, "25 min"),
     (3600, "1 h 00 min"), (360_000, "100 h 00 min"), (-3, "0 s")],
)  # fmt: skip
def test_a_duration_is_told_in_its_largest_units(seconds, words):
    assert in_words(seconds) == words
