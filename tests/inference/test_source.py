import os
import threading

import numpy as np
import pytest
from PIL import Image

from tl_hpo.data.images import decode
from tl_hpo.errors import UserError
from tl_hpo.inference.inputs import open_input
from tl_hpo.inference.source import ahead


def batches(path, batch_size=2, shape=(16, 20)):
    return list(open_input(path, 0.5).batches(shape, batch_size))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    (root / "b" / "deep").mkdir(parents=True)
    for number, name in enumerate(("z.PNG", "b/1.png", "b/deep/2.jpg")):
        Image.new("RGB", (30, 24), (50 * number, 9, 9)).save(root / name)
    (root / ".hidden.png").write_bytes(b"")
    return root


def test_nested_images_come_in_order_as_training_decodes_them(folder):
    found = batches(folder)
    names = [entry.name() for batch in found for entry in batch.entries]
    assert names == ["b/1.png", "b/deep/2.jpg", "z.PNG"]
    pixels = [image for batch in found for image in batch.images]
    for name, image in zip(names, pixels, strict=True):
        assert np.array_equal(image, decode(folder / name, (16, 20)))


def test_other_files_are_told_and_left_out(folder, caplog):
    (folder / "labels.csv").write_text("a")
    assert sum(len(batch.entries) for batch in batches(folder)) == 3
    assert "1 files are no images and are left out (labels.csv)" in caplog.text


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"input must hold images .* with no file"):
        open_input(tmp_path, 0.5)
    (tmp_path / "notes.txt").write_text("a")
    with pytest.raises(UserError, match=r"only other files \(notes\.txt\)"):
        open_input(tmp_path, 0.5)
    with pytest.raises(UserError, match="does not exist"):
        open_input(tmp_path / "absent", 0.5)


def test_what_cannot_be_read_has_a_reason(folder):
    (folder / "b" / "1.png").write_bytes(b"no image")
    first, _ = batches(folder)
    assert list(first.failures) == [0]
    assert "cannot identify" in first.failures[0]


def test_a_name_that_is_no_utf8_is_escaped(folder):
    os.rename(os.fsencode(folder / "z.PNG"), os.fsencode(folder) + b"/\xff.png")
    last = batches(folder)[-1].entries[-1]
    assert last.cells() == {"path": "\\xff.png"}


def test_pictures_keep_their_proportions_and_have_a_bound(folder):
    Image.new("L", (3000, 1500), 7).save(folder / "z.PNG")
    entry = batches(folder)[-1].entries[-1]
    assert entry.picture().size == (1024, 512)
    assert entry.picture().mode == "RGB"


def test_one_batch_is_made_while_another_is_used_and_no_more():
    made, may_go = [], threading.Semaphore(0)

    def items():
        for number in range(4):
            may_go.acquire()
            made.append(number)
            yield number

    coming = ahead(items())
    may_go.release(2)
    assert next(coming) == 0
    may_go.release(2)
    assert list(coming) == [1, 2, 3]
    assert list(ahead(iter(()))) == []


def test_what_goes_wrong_in_the_thread_is_raised():
    def items():
        yield 1
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        list(ahead(items()))
