import numpy as np
import pytest
from PIL import Image

from tl_hpo.reporting.figures.confusion_matrix import draw

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.mark.parametrize("n_classes", [2, 90])
def test_draws_any_number_of_classes(tmp_path, n_classes):
    names = [f"a rather long name of class {index}" for index in range(n_classes)]
    confusion = np.eye(n_classes, dtype=int) * 5
    confusion[0] = 0  # absent from the validation side
    draw(confusion.tolist(), names, tmp_path / "a.png", "title")
    with Image.open(tmp_path / "a.png") as image:
        assert max(image.size) < 40 * 30
