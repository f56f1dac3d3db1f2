"""Views of an image: a fixed number of deterministic variants that a training draws from.

Since there are few of them and none is random, frozen layers are computed once for each, and a
trial on what they gave equals one on the images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torchvision.transforms.v2 import functional as transforms

from tl_hpo.errors import UserError, unknown

FLIPS = {"none": (), "horizontal": (3,), "vertical": (2,), "both": (2, 3)}  # axes of [b, 3, H, W]
TURNS = (0, 90, 180, 270)
COLOUR_RANGE = (0.5, 2.0)  # beyond that it is another image


@dataclass(frozen=True)
class View:
    """One variant of an image: flipped, then turned, then its colours changed.

    Attributes:
        flip: none, horizontal, vertical or both.
        turn: degrees counter-clockwise: 0, 90, 180 or 270.
        brightness: factor, 0.5 to 2; 1 leaves it as it is.
        contrast: likewise.
        saturation: likewise.

    Raises:
        UserError: a value out of its range.

    """

    flip: str = "none"
    turn: int = 0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0

    def __post_init__(self) -> None:
        if self.flip not in FLIPS:
            raise unknown("flip of a view in augment.views", str(self.flip), FLIPS)
        if isinstance(self.turn, bool) or self.turn not in TURNS:
            raise UserError(
                f"turn of a view in augment.views must be one of {TURNS}, got {self.turn!r}."
            )
        low, high = COLOUR_RANGE
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise UserError(
                    f"{name} of a view in augment.views must be a factor from {low} to {high}, "
                    f"got {value!r}; 1 leaves the image as it is."
                )

    def of(self, images: torch.Tensor) -> torch.Tensor:
        """Return this view of images, uint8 [b, 3, H, W]; to be turned they must be square."""
        if FLIPS[self.flip]:
            images = images.flip(FLIPS[self.flip])
        if self.turn:
            images = images.rot90(self.turn // 90, (2, 3))
        for change, factor in (
            (transforms.adjust_brightness, self.brightness),
            (transforms.adjust_contrast, self.contrast),
            (transforms.adjust_saturation, self.saturation),
        ):
            if factor != 1:
                images = change(images, factor)
        return images


class Views:
    """The views that a trial uses; number 0 is the image as it is.

    Args:
        others: the views besides that one.

    """

    def __init__(self, others: Sequence[View] = ()) -> None:
        self.views = (View(), *others)

    def __len__(self) -> int:
        return len(self.views)

    @cached_property
    def turns(self) -> bool:
        """Whether a view swaps height and width."""
        return any(view.turn in (90, 270) for view in self.views)

    def gather(
        self, images: torch.Tensor, rows: torch.Tensor, numbers: torch.Tensor
    ) -> torch.Tensor:
        """Return views of some of the images, in the memory layout of all.

        Args:
            images: uint8 [n, 3, H, W].
            rows: indices of images, int64 [b].
            numbers: the view of each, int64 [b].

        """
        chosen = rows_of(images, rows)
        for number in numbers.unique().tolist():
            if number:
                of_view = (numbers == number).to(chosen.device)
                chosen[of_view] = self.views[number].of(chosen[of_view])
        return chosen


def rows_of(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Gather rows of [n, ...]; the batch has the memory layout of the whole, and its device."""
    indices = indices.to(values.device)
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        # Gathered as [n, H, W, C]: rows of that are whole blocks of memory.
        return values.permute(0, 2, 3, 1)[indices].permute(0, 3, 1, 2)
    return values[indices]


def make_views(cfg: DictConfig) -> Views:
    """Return the views of a config of conf/augment.

    Raises:
        UserError: ``views`` is no list of views, or a view has unknown or impossible settings.

    """
    return views_of(OmegaConf.to_container(cfg, resolve=True).get("views"))  # type: ignore[union-attr]


def views_of(listed: Any) -> Views:
    """Return the views that plain containers describe; errors as `make_views`."""
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise UserError(
            f"augment.views must be a list of views such as [{{flip: horizontal}}], got {listed!r};"
            " choose augment=none, flips or views."
        )
    return Views([_view(each) for each in listed])


def _view(settings: Mapping[Any, Any]) -> View:
    known = [entry.name for entry in fields(View)]
    for key in settings:
        if key not in known:
            raise unknown("setting of a view in augment.views", str(key), known)
    return View(**{str(key): value for key, value in settings.items()})
