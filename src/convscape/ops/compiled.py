"""The ops as `torch.library` ops, for `torch.compile` and `torch.export`.

A compiler cannot look into a kernel. Here each op is one opaque node with a shape rule ("fake") and
a gradient, which is another such node. They cost 150 µs a call more than the eager path, which is
why that one does not use them. First derivatives only.

Arguments are of the types that torch's schemas know: a padding is a name and a list, of which one
is empty.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from convscape.arithmetic.padding import Padding
from convscape.kernels import choose, load
from convscape.ops import conv, pool
from convscape.ops.bridge import array, empty_like, problem, tensor, threads
from convscape.ops.compiled_norm import batch_norm_inference, batch_norm_moments

__all__ = ["avg_pool2d", "batch_norm_inference", "batch_norm_moments", "conv2d", "max_pool2d"]

Tensor = torch.Tensor


def spelled(padding: Padding | Sequence[Padding]) -> tuple[str, list[int]]:
    """A padding as a name, or as the four numbers top, bottom, left, right."""
    if isinstance(padding, str):
        return padding, []
    if isinstance(padding, int):
        return "", [padding] * 4
    numbers: list[int] = []
    for axis in padding:
        if isinstance(axis, int):
            numbers += [axis, axis]
        elif isinstance(axis, str):
            raise NotImplementedError("one padding name an axis cannot be compiled; give numbers")
        else:
            numbers += list(axis)
    return "", numbers


def two(value: int | Sequence[int]) -> list[int]:
    """One number an axis."""
    return [value, value] if isinstance(value, int) else list(value)


def _padding(name: str, numbers: Sequence[int]) -> Any:
    return name or tuple(zip(numbers[::2], numbers[1::2], strict=True))


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
    geometry = conv._geometry(x, weight, bias, stride, _padding(name, padding), dilation, groups)
    return empty_like(x, (x.shape[0], *geometry.output_shape(x.shape[2:])))


@torch.library.custom_op("convscape::conv2d_backward", mutates_args=())
def conv2d_backward(
    dy: Tensor, x: Tensor, weight: Tensor, stride: list[int], name: str, padding: list[int],
    dilation: list[int], groups: int, algorithm: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Both gradients of `conv2d`."""
    geometry = conv._geometry(x, weight, None, stride, _padding(name, padding), dilation, groups)
    wanted = problem("convolution", x, geometry)
    row = choose(wanted, algorithm)
    if row.module is None:
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_(), weight.detach().requires_grad_()]
            y = conv._framework(inputs[0], inputs[1], None, geometry)
            dx, dw = torch.autograd.grad(y, inputs, dy)
            return dx, dw
    kernels, team = load(row), threads()
    along = load(choose(replace(wanted, direction="weight_gradient"), algorithm))
    spatial = (x.shape[2], x.shape[3])
    dx = tensor(kernels.input_grad(array(dy), array(weight), geometry, spatial, team))
    return dx, tensor(along.weight_grad(array(x), array(dy), geometry, team))


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


# --- pooling -----------------------------------------------------------------------------------


@torch.library.custom_op("convscape::max_pool2d", mutates_args=())
def max_pool2d(
    x: Tensor, kernel: list[int], stride: list[int], name: str, padding: list[int],
    dilation: list[int], ceil_mode: bool, algorithm: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The maxima, and their positions h W + w."""
    y, where = pool.max_pool2d(
        x, kernel, stride, _padding(name, padding), dilation, ceil_mode, return_indices=True,
        algorithm=algorithm,
    )  # fmt: skip
    return y, where


@max_pool2d.register_fake
def _(
    x: Any, kernel: Any, stride: Any, name: Any, padding: Any, dilation: Any, ceil_mode: Any,
    algorithm: Any,
) -> Any:  # fmt: skip
    given = kernel, stride, _padding(name, padding), dilation, ceil_mode
    shape = (*x.shape[:2], *pool._geometry(x, *given)[1].outputs(x.shape[2:]))
    return empty_like(x, shape), empty_like(x, shape).long()


@torch.library.custom_op("convscape::max_pool2d_backward", mutates_args=())
def max_pool2d_backward(dy: Tensor, where: Tensor, spatial: list[int]) -> Tensor:
    """Send dy to the positions of the maxima."""
    dx = dy.new_zeros(*dy.shape[:2], spatial[0] * spatial[1])
    dx.scatter_add_(2, where.flatten(2), dy.flatten(2))
    return dx.reshape(*dy.shape[:2], *spatial)


@max_pool2d_backward.register_fake
def _(dy: Any, where: Any, spatial: Any) -> Any:
    return dy.new_empty(*dy.shape[:2], *spatial)


def _save_maximum(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(output[1])
    ctx.spatial = list(inputs[0].shape[2:])


def _maximum_gradient(ctx: Any, dy: Any, _: Any) -> Any:
    return max_pool2d_backward(dy, *ctx.saved_tensors, ctx.spatial), *(None,) * 7


max_pool2d.register_autograd(_maximum_gradient, setup_context=_save_maximum)


@torch.library.custom_op("convscape::avg_pool2d", mutates_args=())
def avg_pool2d(
    x: Tensor, kernel: list[int], stride: list[int], name: str, padding: list[int],
    ceil_mode: bool, include: bool, divisor: int | None, algorithm: str,
) -> Tensor:  # fmt: skip
    """`convscape.ops.avg_pool2d` on a batch."""
    given = kernel, stride, _padding(name, padding), ceil_mode, include, divisor
    y: Tensor = pool.avg_pool2d(x, *given, algorithm=algorithm)
    return y


@avg_pool2d.register_fake
def _(
    x: Any, kernel: Any, stride: Any, name: Any, padding: Any, ceil_mode: Any, include: Any,
    divisor: Any, algorithm: Any,
) -> Any:  # fmt: skip
    geometry = pool._geometry(x, kernel, stride, _padding(name, padding), 1, ceil_mode)[1]
    return empty_like(x, (*x.shape[:2], *geometry.outputs(x.shape[2:])))


@torch.library.custom_op("convscape::avg_pool2d_backward", mutates_args=())
def avg_pool2d_backward(
    dy: Tensor, spatial: list[int], kernel: list[int], stride: list[int], name: str,
    padding: list[int], ceil_mode: bool, include: bool, divisor: int | None, algorithm: str,
) -> Tensor:  # fmt: skip
    """The gradient of `avg_pool2d`; averaging is linear, so any input will do."""
    with torch.enable_grad():
        x = empty_like(dy, (*dy.shape[:2], *spatial)).zero_().requires_grad_()
        given = kernel, stride, _padding(name, padding), ceil_mode, include, divisor
        y = pool.avg_pool2d(x, *given, algorithm=algorithm)
        (dx,) = torch.autograd.grad(y, x, dy)
    return dx


@avg_pool2d_backward.register_fake
def _(dy: Any, spatial: Any, *given: Any) -> Any:
    return empty_like(dy, (*dy.shape[:2], *spatial))


def _save_average(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.given = list(inputs[0].shape[2:]), *inputs[1:]


def _average_gradient(ctx: Any, dy: Any) -> Any:
    return avg_pool2d_backward(dy, *ctx.given), *(None,) * 8


avg_pool2d.register_autograd(_average_gradient, setup_context=_save_average)
