import numpy as np
import pytest

from tl_hpo.reporting.figures.acquisition import draw
from tl_hpo.search.slices import Slice

pytestmark = pytest.mark.usefixtures("coarse")


def _slice(**changes):
    x = np.logspace(-4, 0, 20)
    told = {"title": "model=vgg16, optimizer=adam", "label": "learning rate", "log": True}
    return Slice(**{**told, "x": x, "mean": x, "std": x, "acquisition": x, **changes})


@pytest.mark.parametrize("count", [1, 4])
def test_draws_any_number_of_slices(tmp_path, count):
    draw([_slice(observed_x=[0.1], observed_y=[0.5])] * count, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_flat_acquisition_is_drawn(tmp_path, level):
    draw([_slice(acquisition=np.full(20, level), log=False)], tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size
