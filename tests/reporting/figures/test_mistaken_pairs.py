from dataclasses import replace

import pytest

from tl_hpo.reporting.figures.mistaken_pairs import MOST_PAIRS, draw, most_frequent
from tl_hpo.reporting.records import Prediction, read_run

pytestmark = pytest.mark.usefixtures("coarse")


def _predictions(*pairs):
    return [Prediction(f"{i}.png", *pair, 0.9, "validation") for i, pair in enumerate(pairs)]


def test_pairs_come_by_frequency_and_correct_ones_do_not_count():
    rows = _predictions(("a", "b"), ("b", "a"), ("b", "a"), ("a", "a"), ("c", "a"))
    assert most_frequent(rows) == [(("b", "a"), 2), (("a", "b"), 1), (("c", "a"), 1)]


def test_at_most_so_many_pairs():
    rows = _predictions(*[(str(i), "x") for i in range(20)])
    assert len(most_frequent(rows)) == MOST_PAIRS


@pytest.mark.parametrize("perfect", [False, True])
def test_draws_with_and_without_mistakes(fake_run, tmp_path, perfect):
    run = read_run(fake_run(perfect=perfect))
    draw(run.predictions, run.root, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size


def test_predicted_class_without_a_correct_image(fake_run, tmp_path):
    rows = [row for row in read_run(fake_run()).predictions if row.label != row.predicted]
    draw(rows, tmp_path / "images", tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").is_file()


def test_no_readable_image_is_refused(fake_run, tmp_path):
    rows = [replace(row, path="absent") for row in read_run(fake_run()).predictions]
    with pytest.raises(FileNotFoundError, match="no image could be read"):
        draw(rows, tmp_path, tmp_path / "a.png", "title")
