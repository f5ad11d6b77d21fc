"""The ops as `torch.library` ops, for `torch.compile` and `torch.export`.

A compiler cannot look into a kernel. Here each op is one opaque node with a shape rule ("fake") and
a gradient, which is another such node. They cost 150 µs a call more than the eager path, which is
why that one does not use them. First derivatives only.

Arguments are of the types that torch's schemas know: a padding is a name and a list, of which one
is empty.
"""

from collections.abc import Sequence
from typing import Any

import torch

from convscape.arithmetic.padding import Padding
from convscape.kernels import choose
from convscape.ops import pool
from convscape.ops.bridge import empty_like, problem
from convscape.ops.compiled_norm import batch_norm_inference, batch_norm_moments
from convscape.ops.pool_plan import windows_of

__all__ = ["avg_pool2d", "batch_norm_inference", "batch_norm_moments", "max_pool2d"]

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
    shape = (*x.shape[:2], *windows_of(x.shape, *given)[1].outputs(x.shape[2:]))
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
    geometry = windows_of(x.shape, kernel, stride, _padding(name, padding), 1, ceil_mode)[1]
    return empty_like(x, (*x.shape[:2], *geometry.outputs(x.shape[2:])))


@torch.library.custom_op("convscape::avg_pool2d_backward", mutates_args=())
def avg_pool2d_backward(
    dy: Tensor, spatial: list[int], kernel: list[int], stride: list[int], name: str,
    padding: list[int], ceil_mode: bool, include: bool, divisor: int | None, algorithm: str,
) -> Tensor:  # fmt: skip
    """The gradient of `avg_pool2d`; averaging is linear, so any input will do."""
    x = empty_like(dy, (*dy.shape[:2], *spatial)).zero_()
    given = kernel, stride, _padding(name, padding), ceil_mode, include, divisor
    geometry = windows_of(x.shape, *given[:3], 1, ceil_mode)[1]
    if choose(problem("pooling", x, geometry), algorithm).module is None:
        # Inside a node autograd records none of torch's ops; a vjp does.
        pull: Any = torch.func.vjp(lambda t: pool.avg_pool2d(t, *given), x)[1]
        (dx,) = pull(dy)
        return dx  # type: ignore[no-any-return]
    with torch.enable_grad():
        x.requires_grad_()
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
