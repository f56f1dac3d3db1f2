import pytest

from tl_hpo.reporting.figures.class_examples import draw
from tl_hpo.reporting.records import read_run

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.mark.parametrize("n_classes", [2, 23])
def test_draws_any_number_of_classes(fake_run, tmp_path, n_classes):
    run = read_run(fake_run(classes=[f"class {i}" for i in range(n_classes)]))
    draw(run.split, run.experiment.classes, run.root, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size


def test_class_without_images_is_still_named(fake_run, tmp_path):
    run = read_run(fake_run())
    draw(run.split, [*run.experiment.classes, "none"], run.root, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").is_file()


def test_no_image_at_all_is_refused(fake_run, tmp_path):
    run = read_run(fake_run(images=False))
    with pytest.raises(FileNotFoundError, match="no image could be read"):
        draw(run.split, run.experiment.classes, run.root, tmp_path / "a.png", "title")
