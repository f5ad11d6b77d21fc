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
from convscape.kernels import choose, load
from convscape.ops import pool
from convscape.ops.batch_norm import _BatchNormGrad, _formula
from convscape.ops.batch_norm import batch_norm as eager_batch_norm
from convscape.ops.batch_norm import batch_norm_moments as eager_moments
from convscape.ops.bridge import array, problem, tensor, threads

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


def _like(x: Tensor, shape: Sequence[int]) -> Tensor:
    """An empty tensor of this shape in x's memory order."""
    last = x.dim() == 4 and x.permute(0, 2, 3, 1).is_contiguous()
    order = torch.channels_last if last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=x.dtype, device=x.device, memory_format=order)


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
    shape = (*x.shape[:2], *pool._windows(x.shape, *given)[1].outputs(x.shape[2:]))
    return _like(x, shape), _like(x, shape).long()


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
    geometry = pool._windows(x.shape, kernel, stride, _padding(name, padding), 1, ceil_mode)[1]
    return _like(x, (*x.shape[:2], *geometry.outputs(x.shape[2:])))


@torch.library.custom_op("convscape::avg_pool2d_backward", mutates_args=())
def avg_pool2d_backward(
    dy: Tensor, spatial: list[int], kernel: list[int], stride: list[int], name: str,
    padding: list[int], ceil_mode: bool, include: bool, divisor: int | None, algorithm: str,
) -> Tensor:  # fmt: skip
    """The gradient of `avg_pool2d`; averaging is linear, so any input will do."""
    x = _like(dy, (*dy.shape[:2], *spatial)).zero_()
    given = kernel, stride, _padding(name, padding), ceil_mode, include, divisor
    geometry = pool._windows(x.shape, *given[:3], 1, ceil_mode)[1]
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
    return _like(dy, (*dy.shape[:2], *spatial))


def _save_average(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.given = list(inputs[0].shape[2:]), *inputs[1:]


def _average_gradient(ctx: Any, dy: Any) -> Any:
    return avg_pool2d_backward(dy, *ctx.given), *(None,) * 8


avg_pool2d.register_autograd(_average_gradient, setup_context=_save_average)


# --- batch normalization -----------------------------------------------------------------------


@torch.library.custom_op("convscape::batch_norm_moments", mutates_args=())
def batch_norm_moments(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, algorithm: str
) -> tuple[Tensor, Tensor, Tensor]:
    """`convscape.ops.batch_norm_moments`."""
    return eager_moments(x, weight, bias, eps, algorithm=algorithm)


@batch_norm_moments.register_fake
def _(x: Any, weight: Any, bias: Any, eps: Any, algorithm: Any) -> Any:
    return _like(x, x.shape), x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


@torch.library.custom_op("convscape::batch_norm_inference", mutates_args=())
def batch_norm_inference(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float,
    algorithm: str,
) -> Tensor:  # fmt: skip
    """`convscape.ops.batch_norm` with running statistics."""
    given = weight, bias, False, 0.0, eps
    return eager_batch_norm(x, mean, var, *given, algorithm=algorithm)


@batch_norm_inference.register_fake
def _(x: Any, *given: Any) -> Any:
    return _like(x, x.shape)


@torch.library.custom_op("convscape::batch_norm_backward", mutates_args=())
def batch_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor | None, var: Tensor | None,
    eps: float, algorithm: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dx, dweight and dbias; without statistics those of the batch are taken (training)."""
    training = mean is None or var is None
    row = choose(problem("batch_norm", x), algorithm)
    if row.module is None:
        axes = (0, *range(2, x.dim()))
        if mean is None or var is None:
            var, mean = torch.var_mean(x.float(), axes, correction=0)
        gamma = torch.ones_like(mean) if weight is None else weight
        results = _formula(x.float(), gamma.float(), mean, var, eps, dy.float(), training)
        return results[0].to(x.dtype), results[1].to(x.dtype), results[2].to(x.dtype)
    kernels = load(row)
    if mean is None or var is None:
        mean, var = (tensor(v) for v in kernels.moments(array(x), threads()))
    dx, dweight, dbias = _BatchNormGrad.apply(
        dy, x, weight, mean.double(), var.double(), eps, training, kernels
    )
    return dx, dweight, dbias


@batch_norm_backward.register_fake
def _(dy: Any, x: Any, *given: Any) -> Any:
    return _like(x, x.shape), x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


def _save_training(ctx: Any, inputs: Any, output: Any) -> None:
    x, weight, _, ctx.eps, ctx.algorithm = inputs
    ctx.save_for_backward(x, weight)


def _training_gradient(ctx: Any, dy: Any, *_: Any) -> Any:
    x, weight = ctx.saved_tensors
    grads = batch_norm_backward(dy, x, weight, None, None, ctx.eps, ctx.algorithm)
    return *_wanted(ctx, grads, (0, 1, 2)), None, None


def _save_inference(ctx: Any, inputs: Any, output: Any) -> None:
    x, mean, var, weight, _, ctx.eps, ctx.algorithm = inputs
    ctx.save_for_backward(x, weight, mean, var)


def _inference_gradient(ctx: Any, dy: Any) -> Any:
    grads = batch_norm_backward(dy, *ctx.saved_tensors, ctx.eps, ctx.algorithm)
    dx, dweight, dbias = _wanted(ctx, grads, (0, 3, 4))
    return dx, None, None, dweight, dbias, None, None


def _wanted(ctx: Any, grads: Any, places: tuple[int, ...]) -> list[Any]:
    return [g if ctx.needs_input_grad[i] else None for g, i in zip(grads, places, strict=True)]


batch_norm_moments.register_autograd(_training_gradient, setup_context=_save_training)
batch_norm_inference.register_autograd(_inference_gradient, setup_context=_save_inference)
