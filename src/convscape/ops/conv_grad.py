"""Convolution for autograd.

Forward, input gradient and weight gradient are the three faces of one trilinear form: the gradient
of each is written with the other two. So derivatives of any order are our kernels again.
"""

from typing import Any

import torch
from torch.autograd import Function

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory
from convscape.ops.bridge import array, dtype_name, has_memory, results, run, tensor, threads


def bound(
    x: torch.Tensor, weight: torch.Tensor, geometry: Geometry, kernels: Any, *how: Any
) -> Any:
    """What the algorithm's `bind` finds for tensors that lie like these; None where it has none.

    Args:
        x: The input, or dy.
        weight: (K, C / groups, R, S).
        geometry: The windows.
        kernels: A module.
        how: `bind`'s last arguments.
    """
    if not hasattr(kernels, "bind") or not has_memory(x, weight):
        return None
    return kernels.bind(
        geometry, x.shape, x.stride(), weight.stride(), dtype_name(x.dtype), threads(), *how
    )


def filled(
    call: Any, x: torch.Tensor, weight: torch.Tensor, bias: Any = None, relu: bool | float = False,
    packed: int = 0,
) -> torch.Tensor:  # fmt: skip
    """The result of what `bound` found, given an array for the bias and packed weights' address."""
    (y,) = results(call, x, weight)
    call.fill(x.data_ptr(), weight.data_ptr(), packed, y.data_ptr(), bias, relu)
    return y


def forward(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    geometry: Geometry,
    kernels: Any,
    relu: bool | float,
    call: Any = None,
    packed: Any = None,
) -> torch.Tensor:
    """Compute y without its derivatives.

    Args:
        x: (N, C, H, W).
        weight: (K, C / groups, R, S).
        bias: (K,), or None.
        geometry: The windows.
        kernels: The modules for forward, the input gradient and the weight gradient.
        relu: Whether to take ReLU, or its upper bound.
        call: What `bound` found for tensors that lie like these, or None.
        packed: What the first module's `pack` made of the weight, or None.
    """
    given = None if bias is None else array(bias)
    if call is not None:
        return filled(call, x, weight, given, relu, 0 if packed is None else memory.address(packed))
    also = () if packed is None else (packed,)
    return tensor(
        kernels[0].forward(array(x), array(weight), given, geometry, threads(), relu, *also)
    )


class Forward(Function):
    """y = weight * x + bias, or max(y, 0), or min(max(y, 0), n)."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, geometry: Any, kernels: Any, relu: Any,
        call: Any = None, packed: Any = None,
    ) -> Any:  # fmt: skip
        """Compute y."""
        y = forward(x, weight, bias, geometry, kernels, relu, call, packed)
        if ctx is not None:
            ctx.save_for_backward(x, weight, *([y] if relu else []))
            ctx.geometry, ctx.kernels, ctx.relu = geometry, kernels, relu
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        """The gradients of x, weight and bias."""
        x, weight, *results = ctx.saved_tensors
        for y in results:
            stopped = y <= 0 if ctx.relu is True else (y <= 0) | (y >= ctx.relu)
            dy = torch.where(stopped, 0, dy)  # as torch's relu: NaN passes
        given, wanted = (ctx.geometry, ctx.kernels), ctx.needs_input_grad
        dx = run(InputGrad, dy, weight, x.shape[2:], *given) if wanted[0] else None
        dw = run(WeightGrad, x, dy, *given) if wanted[1] else None
        db = dy.sum((0, 2, 3)) if wanted[2] else None
        return dx, dw, db, *(None,) * 5


class InputGrad(Function):
    """dx = adjoint of weight, applied to dy."""

    @staticmethod
    def forward(ctx: Any, dy: Any, weight: Any, spatial: Any, geometry: Any, kernels: Any) -> Any:
        """Compute dx, whose last two axes are `spatial`."""
        if ctx is not None:
            ctx.save_for_backward(dy, weight)
            ctx.geometry, ctx.kernels = geometry, kernels
        call = bound(dy, weight, geometry, kernels[1], True, spatial)
        if call is not None:
            return filled(call, dy, weight)
        dx = kernels[1].input_grad(array(dy), array(weight), geometry, tuple(spatial), threads())
        return tensor(dx)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """The gradients of dy and weight."""
        dy, weight = ctx.saved_tensors
        given, wanted = (ctx.geometry, ctx.kernels), ctx.needs_input_grad
        ddy = run(Forward, g, weight, None, *given, False) if wanted[0] else None
        dw = run(WeightGrad, g, dy, *given) if wanted[1] else None
        return ddy, dw, None, None, None


class WeightGrad(Function):
    """dw = x correlated with dy."""

    @staticmethod
    def forward(ctx: Any, x: Any, dy: Any, geometry: Any, kernels: Any) -> Any:
        """Compute dw."""
        if ctx is not None:
            ctx.save_for_backward(x, dy)
            ctx.geometry, ctx.kernels = geometry, kernels
        if hasattr(kernels[2], "bind_weight") and has_memory(x, dy):
            given = x.shape, x.stride(), dy.shape, dy.stride(), dtype_name(x.dtype), threads()
            call = kernels[2].bind_weight(geometry, *given)
            if call is not None:
                return filled(call, x, dy)
        return tensor(kernels[2].weight_grad(array(x), array(dy), geometry, threads()))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """The gradients of x and dy."""
        x, dy = ctx.saved_tensors
        given, wanted = (ctx.geometry, ctx.kernels), ctx.needs_input_grad
        dx = run(InputGrad, dy, g, x.shape[2:], *given) if wanted[0] else None
        ddy = run(Forward, x, g, None, *given, False) if wanted[1] else None
        return dx, ddy, None, None
