from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.errors import nearest, unknown


def test_an_unknown_name_gets_the_nearest_ones():
    message = str(unknown("optimizer", "adma", ["adam", "sgd", "nadam"]))
    assert message.startswith("optimizer must be a known name, got 'adma'. Did you mean adam")


@given(st.text(), st.lists(st.from_regex(r"[a-z]{1,12}", fullmatch=True), min_size=1))
def test_some_known_name_is_always_offered(value, known):
    assert any(name in nearest(value, known) for name in known)


def test_thousands_of_names_are_not_listed():
    assert len(nearest("zzz", [f"model_{i}" for i in range(5000)])) < 100
