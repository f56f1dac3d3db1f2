import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.config import compose_trial
from tl_hpo.errors import UserError
from tl_hpo.models.backbone import create_on_meta
from tl_hpo.models.delimiting import resolve_delimiting_layer
from tl_hpo.models.layers import format_layers, layers_of

# Trainable parameters: the published table, with the differences of timm that are known.
PAPER_MODELS = {
    "xception": 20_806_952,
    "vgg16": 14_714_688,
    "vgg19": 20_024_384,
    "resnet50": 23_508_032,
    "inceptionv3": 21_785_568,
    "inceptionresnetv2": 54_306_464,
    "densenet121": 6_953_856,
    "densenet169": 12_484_480,
    "densenet201": 18_092_928,
}


@pytest.mark.parametrize(("model", "parameters"), PAPER_MODELS.items())
def test_paper_models_have_the_published_parameters_and_the_documented_layers(model, parameters):
    config = compose_trial([f"model={model}"]).model
    layers = layers_of(config.name)
    assert sum(layer.n_parameters for layer in layers) == parameters
    assert len(layers) == config.n_layers


@pytest.mark.parametrize(
    "name",
    ["mobilenetv2_100", "convnext_atto", "vit_tiny_patch16_224", "regnety_002", "test_resnet"],
)
def test_every_parameter_of_any_traceable_model_is_in_exactly_one_layer(name):
    owned = [path for layer in layers_of(name) for path in layer.parameters]
    assert sorted(owned) == sorted(path for path, _ in create_on_meta(name).named_parameters())


def test_indices_are_the_execution_order():
    layers = layers_of("resnet50")
    assert [layer.index for layer in layers] == list(range(len(layers)))
    names = [layer.name for layer in layers]
    assert names[:3] == ["conv1", "bn1", "act1"]
    assert names.index("layer1.0.conv1") < names.index("layer1.0.conv2") < names.index("add")


def test_a_layer_that_runs_in_order_matches_hooks_on_the_real_forward_pass():
    from tl_hpo.models.backbone import create

    backbone = create("densenet121").eval()
    layers = [layer for layer in layers_of("densenet121", (64, 64)) if layer.modules]
    seen = []
    for layer in layers:
        backbone.get_submodule(layer.name).register_forward_hook(
            lambda _m, _i, out, name=layer.name: seen.append((name, tuple(out.shape[1:])))
        )
    with torch.no_grad():
        backbone(torch.zeros(1, 3, 64, 64))
    assert seen == [(layer.name, layer.output_shape) for layer in layers]


@given(st.integers(1, 800), st.data())
def test_delimiting_layer_is_an_integer_or_a_fraction_of_n(n, data):
    integer = data.draw(st.integers(0, n))
    fraction = data.draw(st.floats(0, 1))
    assert resolve_delimiting_layer(integer, n) == integer
    assert 0 <= resolve_delimiting_layer(fraction, n) <= n
    assert abs(resolve_delimiting_layer(fraction, n) - fraction * n) <= 0.5


def test_one_as_an_integer_is_a_layer_and_as_a_float_the_whole_network():
    assert resolve_delimiting_layer(1, 40) == 1
    assert resolve_delimiting_layer(1.0, 40) == 40


@pytest.mark.parametrize("value", [-1, 41, 1.5, -0.1, float("nan"), True, "half"])
def test_delimiting_layer_outside_is_refused_with_the_rule(value):
    with pytest.raises(UserError, match=r"integer in 0\.\.40 or a fraction"):
        resolve_delimiting_layer(value, 40)


def test_untraceable_model_is_refused_with_its_name():
    with pytest.raises(UserError, match=r"torch\.fx can trace, got 'hiera_tiny_224'"):
        layers_of("hiera_tiny_224")


def test_images_too_small_for_the_network_are_refused():
    with pytest.raises(UserError, match="image_size must suit"):
        layers_of("inception_v3", (32, 32))


def test_the_listing_shows_index_name_type_parameters_and_shape():
    lines = format_layers(layers_of("vgg16")).splitlines()
    assert lines[0].split() == ["index", "name", "type", "parameters", "output", "shape"]
    assert lines[1].split() == ["0", "features.0", "Conv2d", "1,792", "64", "x", "224", "x", "224"]
    assert lines[-1] == "31 layers, 14,714,688 parameters"
