"""What stands in a model card, run as it stands there."""

import pytest
import torch
from safetensors.torch import save_file

from tl_hpo.models.plain import loading_lines
from tl_hpo.training.saved import _timm_state


@pytest.fixture
def agrees(transfer_model, tmp_path, monkeypatch):
    """Compare a model with what its lines load; return these lines."""

    def check(name, size):
        torch.manual_seed(1)
        model = transfer_model(name, classes=3, size=size).eval()
        save_file(_timm_state(model, name), tmp_path / "model.safetensors")
        monkeypatch.chdir(tmp_path)
        lines = loading_lines(name, (size, size), 3, "model.safetensors")
        names: dict = {}
        exec("\n".join(lines), names)
        images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
        with torch.no_grad():
            expected = model(images)
            found = names["model"](model.normalise(images))
        scale = expected.abs().max()
        assert torch.allclose(found, expected, atol=1e-5 * scale, rtol=1e-4)
        return lines

    return check


@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenetv2_100", 64), ("vgg11", 64), ("test_vit", 96), ("test_efficientnet", 64)],
)
def test_plain_timm_gives_the_same_logits(agrees, name, size):
    lines = agrees(name, size)
    assert len(lines) == (5 if name == "vgg11" else 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["legacy_xception", "vgg16", "vgg19", "resnet50", "inception_v3", "inception_resnet_v2",
     "densenet121", "densenet169", "densenet201"],
)  # fmt: skip
def test_plain_timm_loads_each_of_the_papers_models(agrees, name):
    agrees(name, 96)
