from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_hpo.data.module import Batches, ImageData, channels_first
from tl_hpo.data.split import Split
from tl_hpo.data.views import View, Views
from tl_hpo.errors import UserError

NOTHING = np.empty(0, dtype=np.int64)
SPLIT = Split(np.arange(0, 14), np.arange(14, 20), NOTHING)
LABELS = np.array([0, 1] * 7 + [2, 0, 2, 1, 2, 2], dtype=np.int64)


@pytest.fixture
def make():
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 4, 3), dtype=np.uint8)

    def data(batch_size=4, seed=0, split=SPLIT):
        return ImageData((channels_first(images),), LABELS, split, batch_size, seed)

    return data


def order(loader) -> list[list[float]]:
    return [images.float().mean(dim=(1, 2, 3)).tolist() for (images,), _ in loader]


def test_batches_are_bytes_in_channels_last_layout(make):
    data = make()
    (images,), labels = next(iter(data.val_dataloader()))
    assert images.shape == (4, 3, 6, 4)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64


def test_validation_comes_in_order_with_its_labels(make):
    data = make()
    batches = list(data.val_dataloader())
    images = torch.cat([images for (images,), _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    assert torch.equal(images, data.inputs[0][14:])
    assert labels.tolist() == LABELS[14:].tolist()


def test_training_visits_every_image_once_an_epoch_and_in_another_order(make):
    loader = make().train_dataloader()
    first, second = order(loader), order(loader)
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second))
    assert len(list(chain(*first))) == 14
    assert len(loader) == len(first) == 4


def test_modules_made_alike_give_the_same_batches(make):
    one, two = make().train_dataloader(), make().train_dataloader()
    assert [order(one), order(one)] == [order(two), order(two)]


def test_another_seed_gives_another_order(make):
    assert order(make(seed=0).train_dataloader()) != order(make(seed=1).train_dataloader())


def test_order_neither_reads_nor_moves_the_global_generator(make):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = order(make().train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert order(make().train_dataloader()) == first


def test_last_single_image_joins_the_batch_before_it(make):
    split = Split(np.arange(0, 13), np.arange(13, 20), NOTHING)
    sizes = [len(batch) for batch in order(make(4, split=split).train_dataloader())]
    assert sizes == [4, 4, 5]


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 70))
def test_batches_cover_all_positions_and_are_never_single_by_chance(length, batch_size):
    batches = list(Batches(length, batch_size, None))
    assert list(chain(*batches)) == list(range(length))
    assert len(Batches(length, batch_size, None)) == len(batches)
    if length > 1 and batch_size > 1:
        assert all(2 <= len(batch) <= batch_size + 1 for batch in batches)


def test_no_test_side_gives_no_batches(make):
    assert order(make().test_dataloader()) == []


def test_majority_share_is_that_of_the_validation_side(make):
    assert make().majority_share == pytest.approx(4 / 6)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_below_one_is_refused(make, batch_size):
    with pytest.raises(UserError, match=f"batch_size must be at least 1, got {batch_size}"):
        make(batch_size)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[n, H, W, 3\]"):
        channels_first(np.zeros((20, 3, 4, 4), dtype=np.uint8))


def test_every_input_needs_a_row_per_label():
    inputs = torch.zeros(20, 3, 4, 4), torch.zeros(19, 5)
    with pytest.raises(ValueError, match=r"a row per label, got \[20, 19\], 20"):
        ImageData(inputs, LABELS, SPLIT, 4, 0)


def test_several_inputs_come_together_and_keep_their_layouts():
    numbers = torch.arange(20.0)
    skip = numbers.view(20, 1, 1, 1) * torch.ones(20, 5, 3, 2)
    inputs = skip, skip.contiguous(memory_format=torch.channels_last), numbers.view(20, 1)
    data = ImageData(inputs, LABELS, SPLIT, 4, 0)
    for (plain, last, pooled), _ in data.train_dataloader():
        assert torch.equal(plain, last)
        assert torch.equal(plain[:, 0, 0, 0], pooled[:, 0])
        assert plain.is_contiguous()
        assert last.is_contiguous(memory_format=torch.channels_last)


FLIPPED = Views([View(flip="horizontal"), View(flip="vertical")])


@pytest.fixture
def augmented(make):
    def data(**settings):
        images = make().inputs
        return ImageData(images, LABELS, SPLIT, 4, 0, **({"views": FLIPPED} | settings))

    return data


def samples_of(data, images, labels) -> list[tuple[int, int]]:
    """Tell which image in which view each row of a batch is, by comparing pixels."""
    every = [view.of(data.inputs[0]) for view in FLIPPED.views]
    found = []
    for row in images:
        matches = [(i, v) for v in range(3) for i in range(20) if torch.equal(every[v][i], row)]
        assert len(matches) == 1
        found += matches
    assert labels.tolist() == [LABELS[image] for image, _ in found][: len(labels)]
    return found


def epoch_of(data, loader) -> list[tuple[int, int]]:
    return [pair for (images,), labels in loader for pair in samples_of(data, images, labels)]


def test_every_epoch_shows_each_image_once_in_a_view_of_its_own(augmented):
    data = augmented()
    loader = data.train_dataloader()
    epochs = [epoch_of(data, loader) for _ in range(12)]
    for epoch in epochs:
        assert sorted(image for image, _ in epoch) == list(range(14))
    shown = {pair for epoch in epochs for pair in epoch}
    assert {view for _, view in shown} == {0, 1, 2}
    assert len({tuple(epoch) for epoch in epochs}) == 12
    again = augmented().train_dataloader()
    assert [epoch_of(data, again) for _ in range(2)] == epochs[:2]


def test_without_test_time_views_images_are_judged_as_they_are(augmented):
    data = augmented()
    assert epoch_of(data, data.val_dataloader()) == [(image, 0) for image in range(14, 20)]


def test_with_test_time_views_a_batch_holds_every_view_of_its_images(augmented):
    data = augmented(test_time=True)
    (images,), labels = next(iter(data.val_dataloader()))
    assert len(labels) == 4
    expected = [(image, view) for view in range(3) for image in range(14, 18)]
    assert samples_of(data, images, labels) == expected


def test_inputs_behind_a_cut_are_found_by_image_and_view(augmented):
    """What crosses a cut stands in an order of its own; here it tells its image and view."""
    pairs = [(image, view) for view in range(3) for image in range(14)]
    pairs += [(image, 0) for image in range(14, 20)]
    positions = torch.full((3, 20), -1)
    for row, (image, view) in enumerate(pairs):
        positions[view, image] = row
    held = augmented(positions=positions)
    held.inputs = (torch.tensor(pairs),)
    plain = augmented()
    for (numbers,), labels in held.train_dataloader():
        assert labels.tolist() == [LABELS[image] for image, _ in numbers.tolist()]
    train = [tuple(p) for (b,), _ in held.train_dataloader() for p in b.tolist()]
    assert train == epoch_of(plain, plain.train_dataloader())
    validation = [tuple(p) for (b,), _ in held.val_dataloader() for p in b.tolist()]
    assert validation == [(image, 0) for image in range(14, 20)]


def test_inputs_that_lack_an_image_are_not_mistaken_for_others(augmented):
    positions = torch.zeros(3, 20, dtype=torch.long)
    positions[0, 15] = -1
    data = augmented(positions=positions)
    data.inputs = (torch.zeros(1, 2),)
    with pytest.raises(IndexError, match="every view of the images"):
        list(data.val_dataloader())


def test_balanced_sampling_shows_all_classes_equally_often(make):
    labels = np.array([0] * 10 + [1] * 3 + [2] + [0] * 6, dtype=np.int64)
    data = ImageData(make().inputs, labels, SPLIT, 4, 0, balanced=True)
    loader = data.train_dataloader()
    epochs = [torch.cat([labels for _, labels in loader]) for _ in range(200)]
    assert all(len(epoch) == 14 for epoch in epochs)
    shares = torch.bincount(torch.cat(epochs)).double() / (200 * 14)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.04)  # 4 standard deviations
