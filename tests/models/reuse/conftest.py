"""Hand-written networks, whose live tensors one can write down, and cuts of any network."""

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tl_hpo.models.backbone import create
from tl_hpo.models.layers import layers_of, list_layers
from tl_hpo.models.reuse.cuts import CutGraph
from tl_hpo.models.reuse.passes import FrozenPass
from tl_hpo.models.reuse.source import Request, Samples
from tl_hpo.models.tracing import trace
from tl_hpo.models.transfer import Normalise, TransferModel, classification_block

SIZE = 8


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Pooled(nn.Module):
    """Ends in the pooling that no layer stands for."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def pooled(self, x: Tensor) -> Tensor:
        return self.pool(x).flatten(1)


class Skip(Pooled):
    """Layers: first, act, second, add."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__(first=conv(3, 4), act=nn.ReLU(inplace=inplace), second=conv(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        return self.pooled(x + self.second(x))


class InPlace(Skip):
    """The same; its activation overwrites what the first layer made."""

    def __init__(self) -> None:
        super().__init__(inplace=True)


class Dense(Pooled):
    """Concatenates in DenseNet's manner. Layers: stem, cat, one, cat, two, cat, last."""

    def __init__(self) -> None:
        super().__init__(stem=conv(3, 4), one=conv(4, 2), two=conv(6, 2), last=conv(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.stem(x)]
        parts.append(self.one(torch.cat(parts, 1)))
        parts.append(self.two(torch.cat(parts, 1)))
        return self.pooled(self.last(torch.cat(parts, 1)))


class Branches(Pooled):
    """Two branches from one stem. Layers: stem, left, left2, right, cat."""

    def __init__(self) -> None:
        super().__init__(stem=conv(3, 4), left=conv(4, 2), left2=conv(2, 2), right=conv(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left = self.left2(self.left(x))
        return self.pooled(torch.cat([left, self.right(x)], 1))


class LateConcatenation(Pooled):
    """Concatenates early, uses it late. Layers: stem, left, cat, right, last, add."""

    def __init__(self) -> None:
        super().__init__(stem=conv(3, 4), left=conv(4, 2), right=conv(4, 5), last=conv(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        both = torch.cat([x, self.left(x)], 1)
        right = self.right(x)
        return self.pooled(right + self.last(both))


class NormTwice(Pooled):
    """One normalisation in two places. Layers: first, norm, second, norm, act, third."""

    def __init__(self) -> None:
        super().__init__(
            first=conv(3, 4),
            norm=nn.BatchNorm2d(4),
            second=conv(4, 4),
            act=nn.ReLU(),
            third=conv(4, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        return self.pooled(self.third(self.act(self.norm(self.second(x)))))


class ActTwice(Pooled):
    """One activation, without a state, in two places. Layers: first, act, second, act."""

    def __init__(self) -> None:
        super().__init__(first=conv(3, 4), act=nn.ReLU(), second=conv(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(self.act(self.second(self.act(self.first(x)))))


class TwoResults(Skip):
    """Its output is no tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = super().forward(x)
        return x, x


class SecondArgument(Skip):
    """Takes an argument with a default. Layers: first, act, second, mul, add."""

    def forward(self, x: Tensor, scale: float = 3.0) -> Tensor:
        x = self.act(self.first(x))
        return self.pooled(x + self.second(x) * scale)


class StandardisedWeight(Pooled):
    """Convolves with a weight that it computes. Layers: sub, conv2d, act, second."""

    def __init__(self) -> None:
        super().__init__(first=conv(3, 16), act=nn.ReLU(), second=conv(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.first.weight - 0.1
        return self.pooled(self.second(self.act(F.conv2d(x, weight, self.first.bias, padding=1))))


class WholeBatch(Pooled):
    """An image's features depend on its batch. Layers: first, mean, sub, second."""

    def __init__(self) -> None:
        super().__init__(first=conv(3, 4), second=conv(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.pooled(self.second(x - x.mean(0, keepdim=True)))


class FunctionalDropout(Skip):
    """Drops half of its values in training mode. Layers: first, act, dropout, second."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.act(self.first(x)), 0.5, training=self.training)
        return self.pooled(self.second(x))


class ModuleDropout(Pooled):
    """Likewise, by a module, which is no layer. Layers: first, second, third."""

    def __init__(self) -> None:
        super().__init__(
            first=conv(3, 4), drop=nn.Dropout(0.5), second=conv(4, 4), third=conv(4, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(self.third(self.second(self.drop(self.first(x)))))


NETWORKS = {
    each.__name__: each
    for each in (
        Skip,
        InPlace,
        Dense,
        Branches,
        LateConcatenation,
        NormTwice,
        ActTwice,
        TwoResults,
        SecondArgument,
        StandardisedWeight,
        WholeBatch,
        FunctionalDropout,
        ModuleDropout,
    )
}


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    """Take one: networks this small wait for a second thread longer than it saves."""
    torch.set_num_threads(1)


@pytest.fixture
def network() -> Callable[[str], nn.Module]:
    """Make a hand-written network for images of 8 x 8 pixels, in evaluation mode."""

    def make(name: str) -> nn.Module:
        torch.manual_seed(0)
        return NETWORKS[name]().eval()

    return make


@pytest.fixture
def cuts_of() -> Callable[[nn.Module], CutGraph]:
    """Return the cuts of a hand-written network."""

    def make(backbone: nn.Module) -> CutGraph:
        graph = trace(backbone, "network")
        layers = list_layers(copy.deepcopy(backbone).to("meta"), "network", (SIZE, SIZE))
        return CutGraph(graph, layers, backbone)

    return make


@pytest.fixture
def timm_network() -> Callable[..., tuple[nn.Module, CutGraph]]:
    """Make a network of timm with random weights, in evaluation mode, and its cuts."""

    def make(name: str, size: int = 32) -> tuple[nn.Module, CutGraph]:
        torch.manual_seed(0)
        backbone = create(name, (size, size)).eval()
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):  # timm starts some of them at 0: a dead branch
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.1, 0.1)
        return backbone, CutGraph(trace(backbone, name), layers_of(name, (size, size)), backbone)

    return make


@pytest.fixture
def crossing() -> Callable[..., dict[int, list[Tensor]]]:
    """Return clones of what crosses ``layers``, from one pass over ``images``."""

    def take(
        backbone: nn.Module,
        cuts: CutGraph,
        images: Tensor,
        layers: Sequence[int],
        bf16: bool = False,
    ) -> dict[int, list[Tensor]]:
        taken: dict[int, list[Tensor]] = {}

        def into(layer: int) -> Callable[[list[Tensor]], None]:
            return lambda values: taken.update({layer: [value.clone() for value in values]})

        takes = {cuts.cuts[layer]: into(layer) for layer in layers}
        FrozenPass(backbone, cuts, bf16).run(None, [images.clone()], takes)
        return taken

    return take


@pytest.fixture
def transfer_network(network: Callable[[str], nn.Module]) -> Callable[[str], TransferModel]:
    """Put a classification block behind a hand-written network."""

    def make(name: str) -> TransferModel:
        backbone = network(name)
        layers = list_layers(copy.deepcopy(backbone).to("meta"), name, (SIZE, SIZE))
        features = backbone(torch.zeros(2, 3, SIZE, SIZE)).shape[1]
        normalise = Normalise((0.5,) * 3, (0.5,) * 3)
        return TransferModel(backbone, layers, classification_block(features, 3), normalise)

    return make


def whole(length: int) -> Samples:
    """Return samples of every image as it is."""
    zeros = torch.zeros(length, dtype=torch.long)
    return Samples(torch.arange(length), zeros, length, lambda images, rows, _: images[rows])


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """Ask for the frozen work of a trial on 40 random images: a batch and a part of one."""

    def make(model: TransferModel, delimiting_layer: int, **changes: object) -> Request:
        size = SIZE if type(model.backbone).__name__ in NETWORKS else 32
        generator = torch.Generator().manual_seed(0)
        shape = (40, 3, size, size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        settings = {
            "work": "work",
            "name": "network",
            "model": model,
            "images": images,
            "samples": whole(len(images)),
            "checksum": "images",
            "bf16": False,
            "delimiting_layer": delimiting_layer,
            "head_epochs": 5,
            "finetune_epochs": 5,
        }
        return Request(**(settings | changes))

    return make
