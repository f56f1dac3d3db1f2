import base64
import io

import pytest
from PIL import Image

from tl_hpo.reporting.page.thumbnails import LEFT_OUT, UNREADABLE, Thumbnails


@pytest.fixture
def root(tmp_path):
    for number in range(4):
        Image.effect_noise((200, 100), 50).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    return tmp_path


def test_images_are_small_jpegs_in_the_order_asked(root):
    first, broken, second = Thumbnails(root).of(["0.png", "broken.png", "1.png"], 40)
    data = base64.b64decode(first.uri.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert image.size == (40, 20)
    assert (broken.uri, broken.missing) == ("", UNREADABLE)
    assert second.path == "1.png"
    assert second.uri


def test_what_has_no_room_is_left_out_and_so_is_all_that_follows(root):
    room = sum(len(found.uri) for found in Thumbnails(root).of(["0.png", "1.png"], 40))
    images = Thumbnails(root, budget=room + 10)
    found = images.of(["0.png", "1.png", "2.png"], 40)
    assert [each.missing for each in found] == ["", "", LEFT_OUT]
    assert images.of(["3.png"], 2)[0].missing == LEFT_OUT
    assert (images.left_out, images.unreadable) == (2, 0)
    assert images.told().startswith("2 of the images to be shown have no room")


@pytest.mark.parametrize("folder", [None, "gone"])
def test_a_dataset_that_is_gone_is_said(root, folder):
    images = Thumbnails(root / folder if folder else None)
    assert images.of(["0.png"], 40)[0].missing == UNREADABLE
    assert "1 of the images to be shown could not be read where the dataset was." in images.told()


def test_nothing_is_said_where_all_are_there(root):
    images = Thumbnails(root)
    images.of(["0.png"], 40)
    assert images.told() == ""
