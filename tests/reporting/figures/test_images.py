import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tl_hpo.reporting.figures.images import PIXELS, load, readable, shape, spread


@pytest.fixture
def root(tmp_path):
    Image.new("RGB", (1000, 500)).save(tmp_path / "wide.jpg")
    Image.new("L", (10, 20)).save(tmp_path / "grey.png")
    whole = (tmp_path / "wide.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    return tmp_path


def test_large_images_are_reduced_and_keep_their_shape(root):
    assert load(root, "wide.jpg").size == (PIXELS, PIXELS // 2)


def test_grey_images_become_colour(root):
    assert load(root, "grey.png").mode == "RGB"


@pytest.mark.parametrize("name", ["absent.jpg", "text.jpg", "truncated.jpg", "."])
def test_unreadable_files_give_none(root, name):
    assert load(root, name) is None


def test_unreadable_files_are_passed_over(root):
    found = readable(root, ["absent.jpg", "grey.png", "text.jpg", "wide.jpg"], 2)
    assert [path for path, _ in found] == ["grey.png", "wide.jpg"]
    assert shape(image for _, image in found) == pytest.approx(1.25)


@given(st.integers(0, 50), st.integers(1, 10))
def test_spread_keeps_order_and_repeats_nothing(size, count):
    chosen = spread(range(size), count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(size, count)
