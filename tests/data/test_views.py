from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image, ImageEnhance

from tl_hpo.data.module import channels_first
from tl_hpo.data.views import FLIPS, TURNS, View, Views, make_views
from tl_hpo.errors import UserError

AUGMENT = Path(__file__).parents[2] / "conf" / "augment"
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def pixels_of(images: torch.Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).numpy()


def seen(view: View) -> np.ndarray:
    return pixels_of(view.of(channels_first(PIXELS.copy())))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(), PIXELS),
        (View(flip="horizontal"), PIXELS[:, :, ::-1]),
        (View(flip="vertical"), PIXELS[:, ::-1]),
        (View(flip="both"), PIXELS[:, ::-1, ::-1]),
        (View(turn=90), np.rot90(PIXELS, 1, (1, 2))),
        (View(turn=180), np.rot90(PIXELS, 2, (1, 2))),
        (View(turn=270), np.rot90(PIXELS, 3, (1, 2))),
        (View(flip="horizontal", turn=90), np.rot90(PIXELS[:, :, ::-1], 1, (1, 2))),
    ],
)
def test_flips_and_turns_are_those_of_numpy(view, expected):
    np.testing.assert_array_equal(seen(view), expected)


@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.6, 0.9, 1.1, 1.7])
def test_colours_are_those_of_pillow(name, enhance, factor):
    for ours, source in zip(seen(View(**{name: factor})), PIXELS, strict=True):
        theirs = np.asarray(enhance(Image.fromarray(source)).enhance(factor))
        np.testing.assert_allclose(ours.astype(float), theirs, atol=1)


views = st.builds(
    View,
    flip=st.sampled_from(sorted(FLIPS)),
    turn=st.sampled_from(TURNS),
    brightness=st.floats(0.5, 2),
    contrast=st.floats(0.5, 2),
    saturation=st.floats(0.5, 2),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(views, max_size=4), st.data())
def test_a_view_does_not_depend_on_its_batch(others, data):
    all_views = Views(others)
    rows = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=9))
    numbers = [data.draw(st.integers(0, len(all_views) - 1)) for _ in rows]
    images = channels_first(PIXELS)
    together = all_views.gather(images, torch.tensor(rows), torch.tensor(numbers))
    assert together.is_contiguous(memory_format=torch.channels_last)
    for row, number, one in zip(rows, numbers, together, strict=True):
        assert torch.equal(one, all_views.views[number].of(images[row : row + 1])[0])
    np.testing.assert_array_equal(pixels_of(images), PIXELS)  # the images are as they were


@pytest.mark.parametrize(("name", "number"), [("none", 1), ("flips", 4), ("views", 8)])
def test_the_first_of_the_configured_views_is_the_image_itself(name, number):
    configured = make_views(OmegaConf.load(AUGMENT / f"{name}.yaml"))
    assert len(configured) == number
    assert configured.views[0] == View()
    assert len(set(configured.views)) == number
    assert configured.turns == (name == "views")


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (None, "augment.views must be a list"),
        ("flips", "augment.views must be a list"),
        (["horizontal"], "augment.views must be a list"),
        ([{"flipp": "both"}], "'flipp'.*flip"),
        ([{"flip": "up"}], "flip of a view.*'up'"),
        ([{"turn": 45}], r"turn of a view.*\(0, 90, 180, 270\), got 45"),
        ([{"turn": True}], "turn of a view.*got True"),
        ([{"brightness": 0}], "brightness of a view.*0.5 to 2.0, got 0"),
        ([{"contrast": "much"}], "contrast of a view.*got 'much'"),
    ],
)
def test_impossible_views_are_refused(listed, told):
    with pytest.raises(UserError, match=told):
        make_views(OmegaConf.create({"views": listed}))
