import math

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.overrides import key_of, merged, override

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$"), max_size=30)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT.filter(str.strip)
)


@given(st.one_of(SCALARS, st.lists(SCALARS, max_size=3)))
def test_hydra_reads_back_what_was_written(value):
    (parsed,) = OverridesParser.create().parse_overrides([override("some.key", value)])
    assert parsed.key_or_group == "some.key"
    assert parsed.value() == value
    assert type(parsed.value()) is type(value)


def test_paths_with_blanks_quotes_and_equal_signs_survive():
    for path in ("/data/my images", "a'b", "x=1,y=2", "C:\\images\\", "ends in \\'"):
        (parsed,) = OverridesParser.create().parse_overrides([override("root", path)])
        assert parsed.value() == path


def test_infinity_is_written_as_hydra_reads_it():
    (parsed,) = OverridesParser.create().parse_overrides([override("x", math.inf)])
    assert parsed.value() == math.inf


def test_of_several_overrides_with_one_key_the_last_stands():
    assert merged(["a=1", "b=2"], ["a=3"], ["+b=4"]) == ["a=3", "+b=4"]


def test_key_is_read_without_its_signs():
    assert [key_of(text) for text in ("+a.b=1", "~c", "++d=2", "optimizer@head.optimizer=sgd")] == [
        "a.b",
        "c",
        "d",
        "optimizer@head.optimizer",
    ]
