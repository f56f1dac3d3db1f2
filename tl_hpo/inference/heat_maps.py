"""Grad-CAM: where in an image the evidence for its class lies (Selvaraju et al. 2017).

The gradients of the class's logit, averaged over the last feature maps, weigh these maps; what is
positive of their sum is drawn over the image. Captum computes it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from matplotlib import colormaps
from PIL import Image
from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn

from tl_hpo.errors import UserError
from tl_hpo.files import replacing
from tl_hpo.inference.prediction import Prediction
from tl_hpo.models.transfer import TransferModel

COLOURS = "viridis"  # no tissue has its greens, and its hottest is bright
OPACITY = 0.6  # of the hottest place


def pooling_of(model: TransferModel, size: tuple[int, int]) -> nn.Module | None:
    """Return the module that pools the last feature maps, which Grad-CAM looks at.

    None where there is none: a transformer of tokens, maps that are not [channels, height, width],
    or images so small that one pixel is left of them.
    """
    pools = [m for m in model.backbone.modules() if isinstance(m, SelectAdaptivePool2d)]
    usable: list[bool] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        usable.append(_pools(inputs[0], output))

    for pooling in pools[-1:]:
        hook = pooling.register_forward_hook(look)
        with torch.inference_mode():
            device = model.head.weight.device
            model.features(torch.zeros(1, 3, *size, dtype=torch.uint8, device=device))
        hook.remove()
    return pools[-1] if any(usable) else None


def _pools(maps: Tensor, pooled: Tensor) -> bool:
    """Tell whether maps [1, channels, h, w] became one value for each channel."""
    several = maps.dim() == 4 and maps[0, 0].numel() > 1
    return several and pooled.flatten(1).shape == (1, maps.shape[1])


class GradCam:
    """Heat maps of a model.

    Args:
        model: on its device.
        size: height and width of its input.

    Raises:
        UserError: it has no feature maps before a pooling.

    """

    def __init__(self, model: TransferModel, size: tuple[int, int]) -> None:
        pooling = pooling_of(model, size)
        if pooling is None:
            raise UserError(
                "explain=gradcam must have a model that pools feature maps of more than one pixel, "
                "such as a convolutional network at a usual image_size; this one does not: leave "
                "explain out."
            )
        self._device = model.head.weight.device
        self._size = size
        self._cam = LayerGradCam(model, pooling)

    def heat(self, image: np.ndarray, class_: int) -> np.ndarray:
        """Map an image, uint8 [H, W, 3], to the evidence for a class, float [H, W] in [0, 1]."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(self._device).float()
        maps = self._cam.attribute(
            pixels, target=class_, attribute_to_layer_input=True, relu_attributions=True
        )
        assert isinstance(maps, Tensor)
        heat = LayerAttribution.interpolate(maps.detach(), self._size, "bilinear")[0, 0]
        return (heat / heat.max().clamp(min=torch.finfo().tiny)).cpu().numpy()


def overlay(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """Return an RGB picture with ``heat``, [H, W] in [0, 1], over it: the hotter, the denser."""
    wide = Image.fromarray((heat * 255).astype(np.uint8)).resize(
        picture.size, Image.Resampling.BILINEAR
    )
    scaled = np.asarray(wide, dtype=np.float32)[..., None] / 255
    colours = colormaps[COLOURS](scaled[..., 0])[..., :3] * 255
    mixed = np.asarray(picture) * (1 - OPACITY * scaled) + colours * (OPACITY * scaled)
    return Image.fromarray(mixed.astype(np.uint8))


class HeatMaps:
    """Writes the heat maps of the first images, each for its predicted class.

    Args:
        heat: maps an image and a class to its heat, see `GradCam`.
        folder: of the PNG files, which are named as the images are.
        limit: number of them.

    """

    def __init__(
        self, heat: Callable[[np.ndarray, int], np.ndarray], folder: Path, limit: int
    ) -> None:
        self.folder = folder
        self._heat, self._limit = heat, limit
        self.written = 0

    def watch(self, prediction: Prediction) -> None:
        """Write the heat map of one more image."""
        if prediction.probabilities is None or self.written == self._limit:
            return
        heat = self._heat(prediction.image, int(prediction.probabilities.argmax()))
        with replacing(self.folder / f"{prediction.entry.name()}.png") as temporary:
            overlay(prediction.entry.picture(), heat).save(temporary, format="PNG")
        self.written += 1
