import pytest
import torch

from tl_hpo.models.freezing import Phase
from tl_hpo.models.reuse.cuts import CutGraph, suffix_of
from tl_hpo.models.reuse.passes import FrozenPass

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))

# What crosses each cut, by the names that torch.fx gives to modules and functions.
LIVE = {
    "Skip": [{"first"}, {"act"}, {"act", "second"}, {"flatten"}],
    "InPlace": [{"first"}, {"act"}, {"act", "second"}, {"flatten"}],
    "Dense": [
        {"stem"},
        {"stem"},  # not cat, which is the stem alone
        {"stem", "one"},
        {"stem", "one"},  # not cat_1, which holds both
        {"stem", "one", "two"},
        {"cat_2"},  # its parts are needed no more
        {"flatten"},
    ],
    "Branches": [{"stem"}, {"stem", "left"}, {"stem", "left2"}, {"left2", "right"}, {"flatten"}],
    "LateConcatenation": [
        {"stem"},
        {"stem", "left"},
        {"stem", "left"},
        {"cat", "right"},
        {"right", "last"},
        {"flatten"},
    ],
    "ActTwice": [{"first"}, {"act"}, {"second"}, {"flatten"}],
    "SecondArgument": [{"first"}, {"act"}, {"act", "second"}, {"act", "mul"}, {"flatten"}],
    "StandardisedWeight": [{"x", "sub"}, {"conv2d"}, {"act"}, {"flatten"}],
}


@pytest.mark.parametrize("name", LIVE)
def test_what_crosses_is_what_the_prefix_makes_and_the_suffix_needs(network, cuts_of, name):
    cuts = cuts_of(network(name)).cuts
    assert [set(cuts[layer].live) for layer in sorted(cuts)] == LIVE[name]
    assert sorted(cuts) == list(range(1, len(LIVE[name]) + 1))


@pytest.mark.parametrize("name", [*LIVE, "NormTwice"])
def test_prefix_and_suffix_of_hand_written_networks_make_the_whole(
    network, cuts_of, crossing, name
):
    backbone = network(name)
    cuts = cuts_of(backbone)
    with torch.no_grad():
        whole = backbone(IMAGES.clone())
        for layer, values in crossing(backbone, cuts, IMAGES, [*cuts.cuts]).items():
            assert torch.equal(suffix_of(backbone, cuts, cuts.cuts[layer])(*values), whole)


def test_no_cut_lies_between_two_uses_of_a_module_with_a_state(network, cuts_of):
    # Layers: first, norm, second, norm, act, third.
    assert sorted(cuts_of(network("NormTwice")).cuts) == [1, 4, 5, 6]


def test_an_output_that_is_no_tensor_allows_no_cut(network, cuts_of):
    assert cuts_of(network("TwoResults")).cuts == {}


def test_a_tensor_that_the_trace_bakes_in_allows_no_cut(network, cuts_of):
    backbone = network("Skip")
    cuts = cuts_of(backbone)
    with cuts.graph.inserting_before(cuts.nodes[-1]):
        cuts.graph.get_attr("_tensor_constant0")
    assert CutGraph(cuts.graph, (), backbone).cuts == {}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_prefix_and_suffix_make_the_whole_network_at_every_cut(timm_network, crossing, name):
    backbone, cuts = timm_network(name)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        whole = backbone(images)
        for layer, values in crossing(backbone, cuts, images, [*cuts.cuts]).items():
            assert torch.equal(suffix_of(backbone, cuts, cuts.cuts[layer])(*values), whole)


def test_every_layer_of_the_small_networks_can_be_cut(timm_network, transfer_model):
    for name in ("test_resnet", "test_efficientnet"):
        n_layers = len(transfer_model(name, size=32).layers)
        assert sorted(timm_network(name)[1].cuts) == list(range(1, n_layers + 1))


# Smallest images that the networks take.
PAPER_MODELS = {
    "densenet121": 32,
    "densenet169": 32,
    "densenet201": 32,
    "inception_resnet_v2": 75,
    "inception_v3": 75,
    "legacy_xception": 32,
    "resnet50": 32,
    "vgg16": 32,
    "vgg19": 32,
}


def sampled(backbone, cuts, count=8):
    """Return the ends, some between, and those around the middle one of whatever is special."""
    n_layers = max(cuts.cuts)
    chosen = {1, 2, n_layers - 1, n_layers, *range(1, n_layers, max(1, n_layers // count))}
    branched = [layer for layer, cut in cuts.cuts.items() if len(cut.live) > 2]
    for special in (
        branched,
        _next_to(cuts, lambda node: node.target is torch.cat),
        _next_to(cuts, lambda node: _overwrites(backbone, node)),
    ):
        middle = special[len(special) // 2 :][:1]
        chosen |= {layer + step for layer in middle for step in (-1, 0, 1)}
    return sorted(chosen & cuts.cuts.keys())


def _next_to(cuts, is_special):
    return [layer for layer, cut in cuts.cuts.items() if is_special(cuts.nodes[cut.position - 1])]


def _overwrites(backbone, node):
    return node.op == "call_module" and getattr(
        backbone.get_submodule(node.target), "inplace", False
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER_MODELS)
def test_prefix_and_suffix_make_the_whole_of_the_papers_networks(timm_network, crossing, name):
    size = PAPER_MODELS[name]
    backbone, cuts = timm_network(name, size)
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        whole = backbone(images)
        assert whole.isfinite().all()
        taken = crossing(backbone, cuts, images, sampled(backbone, cuts))
        assert len(taken) > 8
        for layer, values in taken.items():
            suffix = suffix_of(backbone, cuts, cuts.cuts[layer])
            assert torch.equal(suffix(*values), whole), layer


def parameters_and_gradients(model, layer, features):
    """Train once from the layer on; return its gradients by parameter."""
    model.freeze(Phase.FINETUNE, layer)
    model.train()
    model.zero_grad()
    (features() * torch.linspace(-1, 1, model.head.in_features)).sum().backward()
    return {name: p.grad for name, p in model.backbone.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "densenet121"])
@pytest.mark.parametrize("fraction", [0.1, 0.35, 0.6, 0.85])
def test_gradients_behind_the_cut_are_those_of_the_whole_network(
    transfer_model, timm_network, crossing, name, fraction
):
    model = transfer_model(name, size=32)
    model.backbone, cuts = timm_network(name)
    layer = round(fraction * len(model.layers))
    images = torch.rand(4, 3, 32, 32)
    expected = parameters_and_gradients(model, layer, lambda: model.backbone(images))
    values = crossing(model.backbone, cuts, images, [layer])[layer]
    suffix = suffix_of(model.backbone, cuts, cuts.cuts[layer])
    found = parameters_and_gradients(model, layer, lambda: suffix(*values))
    assert found.keys() == expected.keys() != set()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-6)


def test_training_the_suffix_trains_the_backbone_itself(network, cuts_of, crossing):
    backbone = network("Dense")
    cuts = cuts_of(backbone)
    values = crossing(backbone, cuts, IMAGES, [3])[3]
    suffix = suffix_of(backbone, cuts, cuts.cuts[3])
    before = suffix(*values).sum()
    before.backward()
    assert backbone.stem.weight.grad is None
    assert backbone.one.weight.grad is None
    for module in (backbone.two, backbone.last):
        module.weight.data -= 0.1 * module.weight.grad
    assert suffix(*values).sum() < before
    assert torch.equal(suffix(*values), backbone(IMAGES))


def test_the_suffix_runs_in_the_mode_that_the_backbone_is_in(network, cuts_of, crossing):
    backbone = network("NormTwice")
    cuts = cuts_of(backbone)
    values = crossing(backbone, cuts, IMAGES, [1])[1]
    suffix = suffix_of(backbone, cuts, cuts.cuts[1])
    suffix(*values)
    assert not backbone.norm.num_batches_tracked
    backbone.norm.train()
    suffix(*values)
    assert backbone.norm.num_batches_tracked == 2
    backbone.eval()
    assert torch.equal(suffix(*values), backbone(IMAGES))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "densenet121", "vgg16"])
def test_the_pooled_features_cross_the_last_cut(timm_network, crossing, name):
    backbone, cuts = timm_network(name)
    images, last = torch.rand(2, 3, 32, 32), max(cuts.cuts)
    with torch.no_grad():
        whole = backbone(images)
    (features,) = crossing(backbone, cuts, images, [last])[last]
    assert torch.equal(features, whole)
    assert torch.equal(suffix_of(backbone, cuts, cuts.cuts[last])(features), whole)


GROWTH, SIDES, CHANNELS = 32, (8, 4, 2, 1), (64, 128, 256, 512)  # of densenet121 at 32 pixels


@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_densenet_keeps_the_parts_and_never_their_concatenation_beside_them(
    timm_network, transfer_model, block
):
    backbone, cuts = timm_network("densenet121")
    profile = FrozenPass(backbone, cuts, bf16=False).profile(torch.rand(2, 3, 32, 32))
    layer_at = {layer.name: layer.index for layer in transfer_model("densenet121", size=32).layers}
    area = SIDES[block - 1] ** 2
    n_dense = len(backbone.features.get_submodule(f"denseblock{block}"))
    for number in range(2, n_dense + 1):
        parts = CHANNELS[block - 1] + GROWTH * (number - 1)
        path = f"features.denseblock{block}.denselayer{number}"
        concatenated = layer_at[f"{path}.norm1"]
        beside = {"norm1": 0, "conv1": parts, "conv2": 4 * GROWTH}  # what else crosses before it
        assert profile.bytes(concatenated - 1) == 4 * area * parts
        for module, channels in beside.items():
            assert profile.bytes(layer_at[f"{path}.{module}"]) == 4 * area * (parts + channels)
