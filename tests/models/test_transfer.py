import math

import pytest
import torch

from tl_hpo.errors import UserError
from tl_hpo.models.classifier import check_same_parameters
from tl_hpo.models.transfer import Normalise, classification_block, load_head, save_head


def test_a_new_block_is_glorot_uniform_with_zero_bias():
    torch.manual_seed(0)
    head = classification_block(2048, 8)
    limit = math.sqrt(6 / (2048 + 8))  # Glorot and Bengio 2010
    assert head.weight.abs().max() <= limit
    assert head.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05)
    assert not head.bias.any()


def test_normalise_equals_the_textbook_formula():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    expected = (images / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert torch.allclose(Normalise(mean, std)(images), expected, atol=1e-6)


def test_features_are_the_global_average_of_the_last_feature_map(transfer_model):
    model = transfer_model("vgg16", size=64).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = model.backbone.features(images)
        assert torch.allclose(model.backbone(images), maps.mean(dim=(2, 3)), atol=1e-5)


def test_a_saved_block_loads_again(tmp_path):
    head, other = classification_block(5, 3), classification_block(5, 3)
    save_head(head, tmp_path / "head.safetensors")
    load_head(other, tmp_path / "head.safetensors")
    assert torch.equal(head.weight, other.weight)


def test_a_block_of_another_size_is_refused(tmp_path):
    save_head(classification_block(5, 3), tmp_path / "head.safetensors")
    with pytest.raises(UserError, match="4 classes on 5 features"):
        load_head(classification_block(5, 4), tmp_path / "head.safetensors")
    with pytest.raises(UserError, match="does not exist"):
        load_head(classification_block(5, 4), tmp_path / "absent.safetensors")


def test_an_optimizer_over_other_parameters_is_noticed():
    one, two = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    check_same_parameters([one, two], torch.optim.SGD([one, two], lr=1))
    with pytest.raises(RuntimeError, match="1 of them"):
        check_same_parameters([one, two], torch.optim.SGD([one], lr=1))
