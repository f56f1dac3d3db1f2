import numpy as np
import pytest
import torch
from PIL import Image

from tl_hpo.errors import UserError
from tl_hpo.inference.heat_maps import GradCam, HeatMaps, overlay, pooling_of
from tl_hpo.inference.prediction import Prediction
from tl_hpo.models.backbone import create, feature_count
from tl_hpo.models.layers import layers_of
from tl_hpo.models.transfer import Normalise, TransferModel, classification_block

PAPER = (
    "legacy_xception", "vgg16", "vgg19", "resnet50", "inception_v3", "inception_resnet_v2",
    "densenet121", "densenet169", "densenet201",
)  # fmt: skip


def network(name, size, device="cpu"):
    torch.manual_seed(0)
    square = (size, size)
    with torch.device(device):
        head = classification_block(feature_count(name, square), 4)
        backbone, normalise = create(name, square), Normalise((0.5,) * 3, (0.25,) * 3)
    return TransferModel(backbone, layers_of(name, square), head, normalise).eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_with_a_dense_layer_on_pooled_maps_it_is_their_weighted_sum(name):
    """Zhou et al. (2016): the class activation map, up to a positive factor."""
    model = network(name, 96)
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        maps = model.backbone.forward_features(model.normalise(pixels))
    for class_ in range(4):
        cam = torch.einsum("c,bchw->bhw", model.head.weight[class_], maps).clamp(min=0)
        wide = torch.nn.functional.interpolate(cam[None], (96, 96), mode="bilinear")[0, 0].detach()
        heat = GradCam(model, (96, 96)).heat(image, class_)
        assert heat == pytest.approx((wide / wide.max().clamp(min=1e-30)).numpy(), abs=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "inception_v3", "convnext_tiny", "mobilenetv3_small_100",
        *(pytest.param(name, marks=pytest.mark.slow) for name in PAPER),
    ],
)  # fmt: skip
def test_every_convolutional_model_has_a_last_pooling(name):
    model = network(name, 128, device="meta")
    pooling = pooling_of(model, (128, 128))
    assert "pool" in type(pooling).__name__.lower()


@pytest.mark.parametrize(
    ("name", "size"),
    [("test_vit", 160), ("test_resnet", 8), ("swin_tiny_patch4_window7_224", 224)],
    ids=["tokens", "one pixel", "channels last"],
)
def test_where_there_are_no_maps_it_is_told(name, size):
    with pytest.raises(UserError, match="explain=gradcam must have a model that pools"):
        GradCam(network(name, size, device="meta"), (size, size))


def test_heat_lies_over_the_picture_where_it_is_hot():
    picture = Image.new("RGB", (60, 30), (10, 20, 30))
    heat = np.zeros((8, 8), np.float32)
    heat[:, :4] = 1
    mixed = np.asarray(overlay(picture, heat)).astype(int)
    assert mixed.shape == (30, 60, 3)
    assert np.abs(mixed[:, 50:] - (10, 20, 30)).max() <= 1
    assert np.abs(mixed[:, :10] - (10, 20, 30)).max() > 40


class Shown:
    def __init__(self, name):
        self._name = name

    def name(self):
        return self._name

    def picture(self):
        return Image.new("RGB", (20, 10))


def test_the_first_images_that_can_be_read_are_explained(tmp_path):
    seen = []

    def heat(image, class_):
        seen.append(class_)
        return np.ones((4, 4), np.float32)

    maps = HeatMaps(heat, tmp_path / "maps", 2)
    image = np.zeros((4, 4, 3), np.uint8)
    maps.watch(Prediction(Shown("a.png"), image, None, "broken"))
    for name, values in (("b/a.png", [0.1, 0.9]), ("c.jpg", [0.8, 0.2]), ("d.jpg", [1, 0])):
        maps.watch(Prediction(Shown(name), image, np.array(values)))
    assert seen == [1, 0]
    assert maps.written == 2
    assert (tmp_path / "maps" / "b" / "a.png.png").is_file()
    assert (tmp_path / "maps" / "c.jpg.png").is_file()
