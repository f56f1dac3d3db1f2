import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tl_hpo.reporting.figures.style import (
    PALETTE,
    STYLE,
    drawing,
    looks,
    shortened,
    shortened_apart,
    wrapped,
)


def test_saves_a_png_of_about_the_size_asked(tmp_path):
    with drawing(tmp_path / "a.png", 4, 3, "title") as figure:
        figure.add_subplot()
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.width == pytest.approx(800, rel=0.1)
        assert image.height == pytest.approx(600, rel=0.1)


def test_saves_the_same_svg_beside_it_whenever_the_same_is_drawn(tmp_path):
    for name in ("a.png", "b.png"):
        with drawing(tmp_path / name, 4, 3, "title") as figure:
            figure.add_subplot().plot([1, 2], [1, 2], clip_on=True)
    first = (tmp_path / "a.svg").read_text()
    assert first == (tmp_path / "b.svg").read_text()
    assert "<svg" in first
    assert "<dc:date>" not in first


def test_failure_leaves_the_earlier_figure(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"earlier")
    with pytest.raises(ZeroDivisionError), drawing(path, 4, 3, "title"):
        raise ZeroDivisionError
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_global_settings_are_left_alone(tmp_path):
    before = {name: matplotlib.rcParams[name] for name in STYLE}
    with drawing(tmp_path / "a.png", 4, 3, "$not math$"):
        pass
    assert {name: matplotlib.rcParams[name] for name in STYLE} == before


@given(st.text(max_size=60), st.integers(4, 40))
def test_shortened_text_fits(text, characters):
    short = shortened(text, characters)
    assert len(short) <= characters
    assert short == text or len(short) == characters


def test_long_title_is_wrapped():
    assert "\n" in wrapped("word " * 30, 4, 12.5)


def test_each_name_has_a_look_of_its_own():
    assert list(looks(["a", "b", "a", "c"])) == ["a", "b", "c"]
    many = looks(f"step {n}" for n in range(60))
    assert len(set(many.values())) == 60
    assert len({look.colour for look in many.values()}) == len(PALETTE)


@given(st.sets(st.text(alphabet="ab", max_size=30), max_size=8), st.integers(3, 12))
def test_names_that_differ_still_do_once_shortened(names, characters):
    short = shortened_apart(sorted(names), characters)
    assert len(set(short)) == len(names)


def test_names_are_as_short_as_asked_where_they_differ_then():
    assert shortened_apart(["abcdefgh", "abcxefgh"], 5) == ["abcd…", "abcx…"]
    assert shortened_apart(["abcdefgh", "abcdefgi"], 5) == ["ab…gh", "ab…gi"]
    assert shortened_apart(["abcdefgh", "short"], 5) == ["ab…gh", "short"]
