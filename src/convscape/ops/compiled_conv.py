"""Convolution and transposed convolution as `torch.library` ops; see `convscape.ops.compiled`."""

from collections.abc import Callable
from typing import Any

import torch

from convscape.ops import conv, conv_transpose
from convscape.ops.bridge import array, dtype_name, empty_like, fixed, tensor, threads
from convscape.ops.compiled import Tensor, _padding


def _pulled_back(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients of torch's own op; inside a node autograd records nothing, a vjp does."""
    pull: Any = torch.func.vjp(f, x, weight)[1]
    dx, dw = pull(dy)
    return dx, dw


# --- convolution -------------------------------------------------------------------------------


@torch.library.custom_op("convscape::conv2d", mutates_args=())
def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], name: str,
    padding: list[int], dilation: list[int], groups: int, algorithm: str,
) -> Tensor:  # fmt: skip
    """`convscape.ops.conv2d` on a batch."""
    given = stride, _padding(name, padding), dilation, groups
    return conv.conv2d(x, weight, bias, *given, algorithm=algorithm)


@conv2d.register_fake
def _(
    x: Any, weight: Any, bias: Any, stride: Any, name: Any, padding: Any, dilation: Any,
    groups: Any, algorithm: Any,
) -> Any:  # fmt: skip
    conv.check(x, weight, bias)
    given = stride, _padding(name, padding), dilation, groups
    geometry = conv.geometry_of(x.shape, weight.shape, *given)
    return empty_like(x, (x.shape[0], *geometry.output_shape(x.shape[2:])))


@torch.library.custom_op("convscape::conv2d_backward", mutates_args=())
def conv2d_backward(
    dy: Tensor, x: Tensor, weight: Tensor, stride: list[int], name: str, padding: list[int],
    dilation: list[int], groups: int, algorithm: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Both gradients of `conv2d`."""
    given = stride, _padding(name, padding), dilation, groups
    geometry, kernels = conv.plan(
        x.shape, weight.shape, dtype_name(x.dtype), x.device.type, *map(fixed, given), algorithm
    )
    if kernels is None:
        return _pulled_back(lambda a, b: conv._framework(a, b, None, geometry), x, weight, dy)
    team, spatial = threads(), (x.shape[2], x.shape[3])
    dx = tensor(kernels[1].input_grad(array(dy), array(weight), geometry, spatial, team))
    dw = tensor(kernels[2].weight_grad(array(x), array(dy), geometry, team))
    return dx, dw.contiguous()  # as the fake one, whatever the algorithm


@conv2d_backward.register_fake
def _(dy: Any, x: Any, weight: Any, *given: Any) -> Any:
    return empty_like(dy, x.shape), torch.empty(weight.shape, dtype=x.dtype, device=x.device)


def _save_convolution(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.given = inputs[3:]


def _convolution_gradient(ctx: Any, dy: Any) -> Any:
    dx, dw = conv2d_backward(dy, *ctx.saved_tensors, *ctx.given)
    db = dy.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
    return dx, dw, db, *(None,) * 6


conv2d.register_autograd(_convolution_gradient, setup_context=_save_convolution)


# --- transposed convolution --------------------------------------------------------------------


@torch.library.custom_op("convscape::conv_transpose2d", mutates_args=())
def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], name: str,
    padding: list[int], extra: list[int], groups: int, dilation: list[int], algorithm: str,
) -> Tensor:  # fmt: skip
    """`convscape.ops.conv_transpose2d` on a batch; `extra` is output_padding."""
    given = stride, _padding(name, padding), extra, groups, dilation
    return conv_transpose.conv_transpose2d(x, weight, bias, *given, algorithm=algorithm)


@conv_transpose2d.register_fake
def _(
    x: Any, weight: Any, bias: Any, stride: Any, name: Any, padding: Any, extra: Any, groups: Any,
    dilation: Any, algorithm: Any,
) -> Any:  # fmt: skip
    given = stride, _padding(name, padding), extra, groups, dilation
    conv_transpose.check(x, weight, bias, groups)
    geometry, spatial = conv_transpose.geometry_of(x.shape, weight.shape, *given)
    return empty_like(x, (x.shape[0], geometry.in_channels, *spatial))


@torch.library.custom_op("convscape::conv_transpose2d_backward", mutates_args=())
def conv_transpose2d_backward(
    dy: Tensor, x: Tensor, weight: Tensor, stride: list[int], name: str, padding: list[int],
    extra: list[int], groups: int, dilation: list[int], algorithm: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Both gradients of `conv_transpose2d`."""
    given = stride, _padding(name, padding), extra, groups, dilation
    geometry, _, kernels = conv_transpose.plan(
        x.shape, weight.shape, dtype_name(x.dtype), x.device.type, *map(fixed, given), algorithm
    )
    if kernels is None:
        return _pulled_back(
            lambda a, b: conv_transpose.conv_transpose2d(a, b, None, *given, algorithm="framework"),
            x, weight, dy,
        )  # fmt: skip
    team = threads()
    # The roles of a convolution's input and output are swapped.
    dx = tensor(kernels[0].forward(array(dy), array(weight), None, geometry, team))
    dw = tensor(kernels[2].weight_grad(array(dy), array(x), geometry, team))
    return dx, dw.contiguous()


@conv_transpose2d_backward.register_fake
def _(dy: Any, x: Any, weight: Any, *given: Any) -> Any:
    return empty_like(dy, x.shape), torch.empty(weight.shape, dtype=x.dtype, device=x.device)


def _transposed_gradient(ctx: Any, dy: Any) -> Any:
    dx, dw = conv_transpose2d_backward(dy, *ctx.saved_tensors, *ctx.given)
    db = dy.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
    return dx, dw, db, *(None,) * 7


conv_transpose2d.register_autograd(_transposed_gradient, setup_context=_save_convolution)
