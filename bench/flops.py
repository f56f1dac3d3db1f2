"""Floating-point operations of real modules, two per multiply-add, and the rate of this machine."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

# Large enough that a product of matrices reaches its full rate, small enough for seconds.
SIDES = {"cpu": 2048, "cuda": 8192}
TRIES = 10


def count(work: Callable[[], Any]) -> int:
    """Return the operations that ``work`` takes, those of its backward passes included."""
    custom = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=custom) as counter:
        work()
    return counter.get_total_flops()


def _convolution_backward(
    grad_out_shape: Any,
    x_shape: Any,
    w_shape: Any,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: Any,
    _output_padding: Any,
    _groups: Any,
    output_mask: Any,
    **_: Any,
) -> int:
    """Return as many as forward, for each of the gradients of input and weight that is needed.

    torch's own formula forgets that a channel of a depthwise convolution meets but one other.
    """
    forward = conv_flop_count(x_shape, w_shape, grad_out_shape, transposed=transposed)
    return forward * sum(output_mask[:2])


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of the fastest of some products of square matrices."""
    side = SIDES[device.type]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # convolutions on a GPU take TF32 by default
    try:
        return 2 * side**3 / min(_seconds(left, right) for _ in range(TRIES))
    finally:
        torch.set_float32_matmul_precision(usual)


def _seconds(left: Tensor, right: Tensor) -> float:
    wait = synchroniser(left.device)
    wait()
    began = time.perf_counter()
    torch.mm(left, right)
    wait()
    return time.perf_counter() - began


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Return what waits until ``device`` has done all it was given."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None
