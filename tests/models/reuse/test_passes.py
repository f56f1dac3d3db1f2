import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.models.reuse.passes import FrozenPass, TensorSpec

NETWORKS = [
    "Skip",
    "InPlace",
    "Dense",
    "Branches",
    "NormTwice",
    "ActTwice",
    "SecondArgument",
    "StandardisedWeight",
]
IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def same(one, two):
    return len(one) == len(two) and all(map(torch.equal, one, two))


def from_cut(backbone, cuts, start, values, stops):
    """Return clones of what crosses the layers ``stops``, from a pass that starts at a cut."""
    taken = {}
    takes = {
        cuts.cuts[stop]: lambda found, stop=stop: taken.update({stop: [x.clone() for x in found]})
        for stop in stops
    }
    copies = [value.clone() for value in values]
    FrozenPass(backbone, cuts, bf16=False).run(cuts.cuts[start], copies, takes)
    return taken


@pytest.mark.parametrize("name", [*NETWORKS, "LateConcatenation"])
def test_several_cuts_of_one_pass_get_what_separate_passes_give(network, cuts_of, crossing, name):
    backbone = network(name)
    cuts = cuts_of(backbone)
    together = crossing(backbone, cuts, IMAGES, [*cuts.cuts])
    for layer in cuts.cuts:
        assert same(together[layer], crossing(backbone, cuts, IMAGES, [layer])[layer])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pass_from_any_cut_gives_what_one_from_the_images_gives(network, cuts_of, crossing, name):
    backbone = network(name)
    cuts = cuts_of(backbone)
    expected = crossing(backbone, cuts, IMAGES, [*cuts.cuts])
    for start in cuts.cuts:
        later = [layer for layer in cuts.cuts if layer > start]
        together = from_cut(backbone, cuts, start, expected[start], later)
        for stop in later:
            alone = from_cut(backbone, cuts, start, expected[start], [stop])
            assert same(together[stop], expected[stop])
            assert same(alone[stop], expected[stop])


def test_a_concatenation_used_only_behind_the_last_cut_is_made_again(network, cuts_of, crossing):
    backbone = network("LateConcatenation")
    cuts = cuts_of(backbone)
    expected = crossing(backbone, cuts, IMAGES, [3, 4])
    assert same(from_cut(backbone, cuts, 3, expected[3], [4])[4], expected[4])


@pytest.mark.parametrize("name", ["test_resnet", "densenet121", "mobilenetv2_100"])
def test_a_pass_from_any_cut_of_a_real_network_gives_the_same(timm_network, crossing, name):
    backbone, cuts = timm_network(name)
    images, stop = torch.rand(2, 3, 32, 32), max(cuts.cuts)
    layers = [*cuts.cuts][:: max(1, stop // 20)]
    expected = crossing(backbone, cuts, images, [*layers, stop])
    for start, following in zip(layers, [*layers[1:], stop], strict=True):
        found = from_cut(backbone, cuts, start, expected[start], {following, stop})
        assert same(found[following], expected[following])
        assert same(found[stop], expected[stop])


def test_values_are_taken_before_a_later_layer_overwrites_them(network, cuts_of, crossing):
    backbone = network("InPlace")
    taken = crossing(backbone, cuts_of(backbone), IMAGES, [1, 2])
    assert torch.equal(taken[1][0], backbone.first(IMAGES))
    assert (taken[1][0] < 0).any()
    assert torch.equal(taken[2][0], backbone.first(IMAGES).relu())


def test_a_pass_is_in_evaluation_mode_without_gradients_and_restores_every_mode(
    network, cuts_of, crossing
):
    backbone = network("NormTwice").train()
    backbone.norm.eval()
    before = {path: module.training for path, module in backbone.named_modules()}
    values = crossing(backbone, cuts_of(backbone), IMAGES, [1, 4, 6])
    assert {path: module.training for path, module in backbone.named_modules()} == before
    assert not any(value.requires_grad for found in values.values() for value in found)
    assert not backbone.norm.num_batches_tracked
    with torch.no_grad():
        assert torch.equal(values[6][0], backbone.eval()(IMAGES))


def test_modes_are_restored_when_taking_fails(network, cuts_of):
    backbone = network("Skip").train()
    cuts = cuts_of(backbone)

    def fail(values):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        FrozenPass(backbone, cuts, bf16=False).run(None, [IMAGES], {cuts.cuts[1]: fail})
    assert all(module.training for module in backbone.modules())


def test_autocast_values_are_bfloat16_and_close(network, cuts_of, crossing):
    backbone = network("Skip")
    cuts = cuts_of(backbone)
    ((half,), (full,)) = (crossing(backbone, cuts, IMAGES, [1], bf16)[1] for bf16 in (True, False))
    assert (half.dtype, full.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(half.float(), full, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_the_profile_has_the_bytes_of_what_crosses(timm_network, crossing, name, bf16):
    backbone, cuts = timm_network(name)
    images = torch.rand(3, 3, 32, 32)
    profile = FrozenPass(backbone, cuts, bf16).profile(images)
    assert profile.specs.keys() == profile.seconds.keys() == cuts.cuts.keys()
    for layer, values in crossing(backbone, cuts, images, [*cuts.cuts], bf16).items():
        size = sum(value.numel() * value.dtype.itemsize for value in values)
        assert profile.bytes(layer) * len(images) == size
        assert [spec.shape for spec in profile.specs[layer]] == [x.shape[1:] for x in values]


def test_the_profile_has_positive_seconds_that_never_decrease(timm_network):
    backbone, cuts = timm_network("test_resnet")
    seconds = FrozenPass(backbone, cuts, bf16=False).profile(torch.rand(2, 3, 32, 32)).seconds
    assert list(seconds) == sorted(seconds)
    assert list(seconds.values()) == sorted(seconds.values())
    assert min(seconds.values()) > 0


def test_profiling_changes_neither_images_nor_modes(network, cuts_of):
    backbone = network("InPlace").train()
    images = IMAGES.clone()
    FrozenPass(backbone, cuts_of(backbone), bf16=False).profile(images)
    assert torch.equal(images, IMAGES)
    assert backbone.training


def test_a_cut_that_a_computed_weight_crosses_is_left_out(network, cuts_of):
    backbone = network("StandardisedWeight")
    profile = FrozenPass(backbone, cuts_of(backbone), bf16=False).profile(IMAGES)
    assert [*profile.specs] == [2, 3, 4]


def test_a_computed_weight_with_as_many_filters_as_images_is_no_batch(network, cuts_of):
    backbone = network("StandardisedWeight")
    images = torch.rand(backbone.first.out_channels, 3, 8, 8)
    profile = FrozenPass(backbone, cuts_of(backbone), bf16=False).profile(images)
    assert [*profile.specs] == [2, 3, 4]


SIDE = st.integers(1, 4)
SHAPES = st.one_of(st.tuples(), st.tuples(SIDE), st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE, SIDE))
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64])


@given(SHAPES, DTYPES, st.integers(1, 4), st.booleans())
def test_what_is_stored_reads_back_equal_and_as_laid_out(shape, dtype, batch, last):
    tensor = torch.randn(batch, *shape).to(dtype)
    if last and len(shape) == 3:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    spec = TensorSpec.of(tensor)
    stored = torch.empty(batch, *spec.stored_shape, dtype=spec.dtype)
    stored[:] = spec.stored(tensor)
    read = stored.permute(0, 3, 1, 2) if spec.channels_last else stored
    assert torch.equal(read, tensor)
    assert spec.stored(tensor).is_contiguous()
    assert (spec.shape, spec.dtype) == (shape, dtype)
    assert spec.bytes * batch == tensor.numel() * tensor.element_size()
    assert read.is_contiguous(memory_format=torch.channels_last) or not spec.channels_last


@given(st.integers(1, 4), st.tuples(SIDE, SIDE, SIDE))
def test_a_batch_of_either_layout_can_be_stored_as_either(batch, shape):
    contiguous = torch.randn(batch, *shape)
    for last in (False, True):
        spec = TensorSpec(shape, torch.float32, last)
        for layout in (torch.contiguous_format, torch.channels_last):
            stored = spec.stored(contiguous.contiguous(memory_format=layout))
            assert tuple(stored.shape) == (batch, *spec.stored_shape)


def test_channels_last_is_told_from_contiguous():
    tensor = torch.rand(2, 3, 4, 5)
    assert not TensorSpec.of(tensor).channels_last
    spec = TensorSpec.of(tensor.contiguous(memory_format=torch.channels_last))
    assert spec.channels_last
    assert spec.stored_shape == (4, 5, 3)
