"""Tracing a backbone into the graph of its operations, in execution order."""

from typing import Any

import torch
from timm.layers import BatchNormAct2d
from timm.layers._fx import get_notrace_functions, get_notrace_modules
from torch import fx, nn

from tl_hpo.errors import UserError


class BackboneTracer(fx.Tracer):
    """Traces timm's models; a BatchNorm with its activation stays one operation.

    ``BatchNormAct2d`` owns parameters beside child modules, so it must not be looked into.
    """

    _leaves = (*get_notrace_modules(), BatchNormAct2d)

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether ``module`` is one operation of the graph."""
        return isinstance(module, self._leaves) or super().is_leaf_module(
            module, module_qualified_name
        )


def trace(backbone: nn.Module, name: str) -> fx.Graph:
    """Return the graph of ``backbone``.

    Raises:
        UserError: torch.fx cannot trace it.

    """
    try:
        return BackboneTracer().trace(backbone)
    except (fx.proxy.TraceError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise _untraceable(name, error) from error


def _untraceable(name: str, error: Exception) -> UserError:
    return UserError(
        f"model.name must be a model that torch.fx can trace, got {name!r} ({_first_line(error)}); "
        "choose a convolutional model such as resnet50 or densenet121."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class ShapeRecorder(fx.Interpreter):
    """Runs a graph on meta tensors and keeps the shape of every tensor it makes."""

    def __init__(self, backbone: nn.Module, graph: fx.Graph) -> None:
        super().__init__(backbone, graph=graph)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, node: fx.Node) -> Any:
        """Run one operation and note its shape."""
        result = super().run_node(node)
        # Recurrent modules return their state too; their output comes first.
        output = result[0] if isinstance(result, tuple) and result else result
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            self.shapes[node] = tuple(output.shape)
        return result


def output_shapes(
    backbone: nn.Module, graph: fx.Graph, name: str, image_size: tuple[int, int]
) -> dict[fx.Node, tuple[int, ...]]:
    """Return the shape, without the batch, of every floating tensor in ``graph``.

    ``backbone`` lies on the meta device, so nothing is computed.

    Raises:
        UserError: the images are too small for the network, or its graph does not run.

    """
    recorder = ShapeRecorder(backbone, graph)
    try:
        # Two images, so that no operation mistakes the batch for an axis to squeeze.
        recorder.run(torch.empty(2, 3, *image_size, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"image_size must suit the model {name}, got {image_size[0]} ({_first_line(error)}); "
            "give a larger image_size, or none for the size of the weights."
        ) from error
    except (AttributeError, TypeError) as error:
        raise _untraceable(name, error) from error
    return {node: shape[1:] for node, shape in recorder.shapes.items()}
