"""The ordered layers of a backbone, and the delimiting layer among them.

A layer is one operation of the traced backbone that makes a tensor: a convolution, a
normalisation, an activation, a pooling, an addition, a concatenation. As in Keras, operations
without parameters count. Identities, the final pooling and what follows it do not.

``python -m tl_hpo.models.layers model=vgg16`` lists them.
"""

import operator
import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from torch import fx, nn

from tl_hpo.errors import UserError
from tl_hpo.models.tracing import output_shapes, trace

_NO_OPERATION = (nn.Identity, nn.Dropout, nn.Dropout2d)
_TRAILING = ("AdaptiveAvgPool2d", "Flatten", "mean", "flatten", "squeeze")
_BOOKKEEPING = {getattr, operator.getitem, "contiguous", "size"}


@dataclass(frozen=True)
class Layer:
    """One layer of a backbone.

    Attributes:
        index: its place in execution order, 0..n-1.
        name: the module's path, or the graph's name of an operation without a module.
        kind: class of the module, or name of the function.
        node: its name in the traced graph.
        modules: paths of the modules that it runs.
        parameters: paths of the parameters that belong to it.
        n_parameters: number of trainable values in them.
        output_shape: shape of its output for one image.

    """

    index: int
    name: str
    kind: str
    node: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    n_parameters: int
    output_shape: tuple[int, ...]


def list_layers(
    backbone: nn.Module, name: str, image_size: tuple[int, int] = (224, 224)
) -> tuple[Layer, ...]:
    """Return the layers of ``backbone`` (on the meta device) in execution order.

    Raises:
        UserError: it cannot be traced, or has parameters that its forward pass never uses.

    """
    backbone.eval()
    graph = trace(backbone, name)
    shapes = output_shapes(backbone, graph, name, image_size)
    owners = _owners(backbone, graph)
    nodes = _without_trailing(
        backbone,
        [node for node in graph.nodes if _is_layer(backbone, node, shapes, owners)],
        owners,
    )
    sizes = {path: parameter.numel() for path, parameter in backbone.named_parameters()}
    layers = tuple(
        Layer(
            index=index,
            name=str(node.target) if node.op == "call_module" else node.name,
            kind=_kind(backbone, node),
            node=node.name,
            modules=(str(node.target),) if node.op == "call_module" else (),
            parameters=tuple(owners.get(node, ())),
            n_parameters=sum(sizes[path] for path in owners.get(node, ())),
            output_shape=shapes[node],
        )
        for index, node in enumerate(nodes)
    )
    _check_complete(layers, sizes, name)
    return layers


def _owners(backbone: nn.Module, graph: fx.Graph) -> dict[fx.Node, list[str]]:
    """Give each parameter to the first operation that uses it."""
    owners: dict[fx.Node, list[str]] = {}
    seen: set[int] = set()
    parameters = dict(backbone.named_parameters())

    def claim(node: fx.Node, path: str) -> None:
        if path in parameters and id(parameters[path]) not in seen:
            seen.add(id(parameters[path]))
            owners.setdefault(node, []).append(path)

    for node in graph.nodes:
        if node.op == "call_module":
            prefix = f"{node.target}."
            for path in [path for path in parameters if path.startswith(prefix)]:
                claim(node, path)
        for source in node.all_input_nodes:
            if source.op == "get_attr":
                claim(node, str(source.target))
    return owners


def _is_layer(
    backbone: nn.Module,
    node: fx.Node,
    shapes: dict[fx.Node, tuple[int, ...]],
    owners: dict[fx.Node, list[str]],
) -> bool:
    if node.op in ("placeholder", "get_attr", "output") or node not in shapes:
        return False
    if node in owners:
        return True
    if node.op == "call_module":
        return not isinstance(backbone.get_submodule(str(node.target)), _NO_OPERATION)
    return node.target not in _BOOKKEEPING


def _without_trailing(
    backbone: nn.Module, nodes: list[fx.Node], owners: dict[fx.Node, list[str]]
) -> list[fx.Node]:
    """Drop the final pooling: it belongs between the backbone and the classification block."""
    while nodes and nodes[-1] not in owners and _kind(backbone, nodes[-1]) in _TRAILING:
        nodes = nodes[:-1]
    return nodes


def _kind(backbone: nn.Module, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(backbone.get_submodule(str(node.target))).__name__
    return node.target if isinstance(node.target, str) else node.target.__name__


def _check_complete(layers: tuple[Layer, ...], sizes: dict[str, int], name: str) -> None:
    owned = Counter(path for layer in layers for path in layer.parameters)
    unused = [path for path in sizes if path not in owned]
    if unused:
        raise UserError(
            f"model.name must be a model whose parameters all take part in its features, got "
            f"{name!r}, which never uses {', '.join(unused[:3])}; choose another model."
        )


@lru_cache(maxsize=32)
def layers_of(name: str, image_size: tuple[int, int] | None = None) -> tuple[Layer, ...]:
    """Return the layers of the timm model ``name``, traced without memory for its weights."""
    from tl_hpo.models.backbone import create_on_meta, default_size

    size = image_size or default_size(name)
    return list_layers(create_on_meta(name, size), name, size)


def format_layers(layers: tuple[Layer, ...]) -> str:
    """Return a table of the layers: index, name, type, parameters, output shape."""
    rows = [("index", "name", "type", "parameters", "output shape")]
    rows += [
        (
            str(layer.index),
            layer.name,
            layer.kind,
            f"{layer.n_parameters:,}",
            " x ".join(map(str, layer.output_shape)),
        )
        for layer in layers
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        f"{row[0]:>{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]}"
        for row in rows
    ]
    total = sum(layer.n_parameters for layer in layers)
    return "\n".join(lines) + f"\n{len(layers)} layers, {total:,} parameters"


def main(arguments: list[str]) -> None:
    """Print the layers of the model that the overrides in ``arguments`` choose."""
    from tl_hpo.config import compose_trial
    from tl_hpo.models.backbone import check_image_size

    config = compose_trial(arguments)
    print(format_layers(layers_of(config.model.name, check_image_size(config.image_size))))


if __name__ == "__main__":
    from tl_hpo.cli.entry import user_errors

    with user_errors():
        main(sys.argv[1:])
