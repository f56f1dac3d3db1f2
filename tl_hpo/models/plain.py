"""A trained model in plain timm: the lines that load it, for those who do not use this package."""

import torch
from torch import nn

from tl_hpo.models.backbone import create_from, feature_count
from tl_hpo.models.weights import classifier_names


def loading_lines(name: str, size: tuple[int, int], classes: int, weights: str) -> list[str]:
    """Return the Python lines that load a model, which is called ``model`` then.

    Args:
        name: of timm.
        size: height and width of its input.
        classes: number of them.
        weights: path of the file, as it is to stand in the lines.

    """
    with torch.device("meta"):
        backbone, shaping = create_from(name, size)
    arguments = "".join(f", {key}={value!r}" for key, value in shaping.items())
    if not isinstance(getattr(backbone, "pre_logits", None), nn.Identity):
        return [
            "import timm",
            f"model = timm.create_model({name!r}, num_classes={classes}{arguments}, "
            f"checkpoint_path={weights!r})",
            "model.eval()",
        ]
    # Its old classification block, of wide dense layers, is gone.
    classifier, features = next(iter(classifier_names(name))), feature_count(name, size)
    return [
        "import timm, torch",
        f"model = timm.create_model({name!r}, num_classes=0{arguments})",
        f"model.pre_logits, model.{classifier} = torch.nn.Identity(), "
        f"torch.nn.Linear({features}, {classes})",
        f"timm.models.load_checkpoint(model, {weights!r})",
        "model.eval()",
    ]
