"""Cutting a traced backbone into prefix and suffix.

A cut at layer c puts layers 0..c-1 into the prefix. What crosses it are all live tensors: those
that the prefix makes and the suffix needs, skip connections and unfinished branches included. The
cut at n lies behind the final pooling, so that the pooled features cross it; the cut at 0 is that
of the images themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from timm.layers import DropPath
from torch import Tensor, fx, nn
from torch.nn import functional as F

from tl_hpo.models.layers import Layer

Suffix = Callable[..., Tensor]

# What draws random numbers in training, so that it is no frozen work even where no layer before it
# is trained; by the name of its probability.
_RANDOM_MODULES = {nn.modules.dropout._DropoutNd: "p", DropPath: "drop_prob"}
_RANDOM_FUNCTIONS = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
    torch.dropout, torch.alpha_dropout, torch.feature_dropout,
}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """A place to cut the graph of a backbone.

    Attributes:
        layer: the first layer of the suffix; n for the cut behind the pooling.
        position: place in the graph before which the prefix ends.
        live: names of the nodes whose values cross the cut, in execution order.

    """

    layer: int
    position: int
    live: tuple[str, ...]


class CutGraph:
    """The graph of a backbone with all places where it can be cut.

    Args:
        graph: of the backbone, as traced.
        layers: those of the backbone.
        backbone: any instance of it; only its structure is looked at.

    """

    def __init__(self, graph: fx.Graph, layers: Sequence[Layer], backbone: nn.Module) -> None:
        self.graph = graph
        self.nodes = list(graph.nodes)
        self.index = {node: position for position, node in enumerate(self.nodes)}
        self.named = {node.name: node for node in self.nodes}
        self.input = next(node for node in self.nodes if node.op == "placeholder")
        self._last_use = {
            node: max((self.index[user] for user in node.users), default=-1) for node in self.nodes
        }
        self.cuts = self._find_cuts(layers, backbone)

    def _find_cuts(self, layers: Sequence[Layer], backbone: nn.Module) -> dict[int, Cut]:
        """Return the cut before every layer that allows one, and the one at n, by layer."""
        if not self._is_cuttable(backbone):
            return {}
        output = self.index[self.graph.output_node()]
        positions = [self.index[self.named[layer.node]] for layer in layers[1:]] + [output]
        shared = self._shared_modules(backbone)
        deterministic = self._first_random(backbone)
        cuts = {}
        for layer, position in enumerate(positions, start=1):
            if position <= deterministic and not any(
                first < position <= last for first, last in shared
            ):
                live = sorted(self.live(position), key=self.index.__getitem__)
                cuts[layer] = Cut(layer, position, tuple(node.name for node in live))
        return cuts

    def _is_cuttable(self, backbone: nn.Module) -> bool:
        """Tell whether the graph maps one tensor to one, with nothing baked in by the trace."""
        known = dict(backbone.named_parameters()) | dict(backbone.named_buffers())
        optional = [n for n in self.nodes if n.op == "placeholder" and n is not self.input]
        constants = {str(node.target) for node in self.nodes if node.op == "get_attr"}
        result = self.graph.output_node().args[0]
        return (
            all(node.args for node in optional)  # they have defaults, which the graph knows
            and isinstance(result, fx.Node)
            and constants <= known.keys()
            # Whether it trains or not was decided when it was traced.
            and not any(n.target in _RANDOM_FUNCTIONS and _probability(n) for n in self.nodes)
        )

    def _first_random(self, backbone: nn.Module) -> int:
        """Return the position of the first module that draws random numbers in training."""
        for position, node in enumerate(self.nodes):
            if node.op == "call_module":
                module = backbone.get_submodule(str(node.target))
                for kind, probability in _RANDOM_MODULES.items():
                    if isinstance(module, kind) and getattr(module, probability):
                        return position
        return len(self.nodes)

    def _shared_modules(self, backbone: nn.Module) -> list[tuple[int, int]]:
        """Return first and last position of every module with a state that runs more than once.

        A cut between them would freeze a part of what such a module does.
        """
        places: dict[str, list[int]] = {}
        for node in self.nodes:
            if node.op == "call_module":
                places.setdefault(str(node.target), []).append(self.index[node])
        return [
            (found[0], found[-1])
            for path, found in places.items()
            if len(found) > 1 and backbone.get_submodule(path).state_dict()
        ]

    def live(self, position: int) -> set[fx.Node]:
        """Return the nodes before ``position`` whose values are needed from there on.

        A concatenation gives way to its parts where one of them crosses the cut anyway, as in
        DenseNet: the suffix concatenates again, which costs less than keeping values twice.
        Parameters and defaults of arguments are no values: the suffix reads them itself.
        """
        crossing = {
            node
            for node in self.nodes[:position]
            if self._last_use[node] >= position
            and (node is self.input or node.op not in ("get_attr", "placeholder"))
        }
        while beside_parts := next(
            (n for n in crossing if n.target is torch.cat and crossing & {*n.all_input_nodes}), None
        ):
            crossing.remove(beside_parts)
            crossing.update(beside_parts.all_input_nodes)
        return crossing

    def values(self, cut: Cut) -> list[fx.Node]:
        """Return the nodes whose values cross ``cut``."""
        return [self.named[name] for name in cut.live]

    def between(self, start: Cut | None, stop: int) -> list[fx.Node]:
        """Return what must be run, in order, from ``start`` (None: the images) to ``stop``.

        Concatenations that were not kept beside their parts, but are needed, come first.
        """
        if start is None:
            return [node for node in self.nodes[:stop] if node is not self.input]
        have, needed = set(self.values(start)), set[fx.Node]()
        wanted = [*self.nodes[start.position : stop], *self.live(stop)]
        while wanted:
            node = wanted.pop()
            if node in have or node in needed:
                continue
            needed.add(node)
            wanted += [n for n in node.all_input_nodes if self.index[n] < start.position]
        return sorted(needed, key=self.index.__getitem__)

    def last_use(self, node: fx.Node) -> int:
        """Return the position of the last node that needs the value of ``node``."""
        return self._last_use[node]


def _probability(node: fx.Node) -> float:
    """Return the probability that a dropout function is called with; 0.5 is torch's default."""
    found = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
    return float(found) if isinstance(found, int | float) else 1.0  # else it is computed


def suffix_of(backbone: nn.Module, cut_graph: CutGraph, cut: Cut) -> Suffix:
    """Return what maps the values that cross ``cut``, each [batch, ...], to pooled features.

    It runs the modules of ``backbone`` themselves: their parameters, their modes.
    """
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in cut_graph.values(cut)}
    for node in cut_graph.between(cut, len(cut_graph.nodes)):
        copies[node] = graph.node_copy(node, copies.__getitem__)
    return _Suffix(fx.GraphModule(backbone, graph))


class _Suffix:
    """Hides its module from whoever sets modes or collects parameters: both are the backbone's."""

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module

    def __call__(self, *values: Tensor) -> Tensor:
        return self._module(*values)
