"""Batch normalization as `torch.library` ops (see `compiled`)."""

from typing import Any

import torch
from torch.nn import functional

from convscape.kernels import choose, load
from convscape.ops.batch_norm_grad import BatchNormGrad, formula
from convscape.ops.bridge import array, empty_like, problem, tensor, threads

Tensor = torch.Tensor


def _normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    moments: Tensor | None, eps: float, relu: bool, algorithm: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The result, and the moments it used, (2, C) in float64."""
    row = choose(problem("batch_norm", x), algorithm)
    if row.module is not None and x.numel() > 0:
        given = [None if t is None else array(t) for t in (weight, bias, residual)]
        statistics = None if moments is None else tuple(array(moments))
        y, found = load(row).normalize(
            array(x), *given[:2], statistics, eps, given[2], relu, threads()
        )
        return tensor(y), tensor(found)
    if moments is None:
        var, mean = torch.var_mean(x.double(), (0, *range(2, x.dim())), correction=0)
        moments = torch.stack((mean, var))
    result = x.clone()
    if x.numel() > 0:
        kind = x.dtype if weight is None else weight.dtype
        result = functional.batch_norm(
            x, moments[0].to(kind), moments[1].to(kind), weight, bias, False, 0.0, eps
        )
    result = result if residual is None else result + residual
    return torch.relu(result) if relu else result, moments.clone()


@torch.library.custom_op("convscape::batch_norm_moments", mutates_args=())
def batch_norm_moments(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, eps: float,
    relu: bool, algorithm: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`convscape.ops.batch_norm_moments`: y, and the moments, (2, C) in float64."""
    return _normalize(x, weight, bias, residual, None, eps, relu, algorithm)


@batch_norm_moments.register_fake
def _(x: Any, *given: Any) -> Any:
    return empty_like(x, x.shape), x.new_empty((2, x.shape[1]), dtype=torch.float64)


@torch.library.custom_op("convscape::batch_norm_inference", mutates_args=())
def batch_norm_inference(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None,
    residual: Tensor | None, eps: float, relu: bool, algorithm: str,
) -> Tensor:  # fmt: skip
    """`convscape.ops.batch_norm` with running statistics."""
    moments = torch.stack((mean, var)).double()
    return _normalize(x, weight, bias, residual, moments, eps, relu, algorithm)[0]


@batch_norm_inference.register_fake
def _(x: Any, *given: Any) -> Any:
    return empty_like(x, x.shape)


@torch.library.custom_op("convscape::batch_norm_backward", mutates_args=())
def batch_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, y: Tensor | None,
    moments: Tensor, eps: float, training: bool, relu: bool, algorithm: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """dx, what ReLU passed of dy (empty unless y is given), dweight and dbias."""
    row = choose(problem("batch_norm", x), algorithm)
    if row.module is None or x.numel() == 0:
        kind = torch.promote_types(x.dtype, torch.float32)
        gamma = moments.new_ones(x.shape[1]) if weight is None else weight
        beta = None if bias is None else bias.to(kind)
        given = moments.to(kind), eps, dy.to(kind), training, relu
        results = formula(x.to(kind), gamma.to(kind), beta, y, *given)
        dx, passed, dweight, dbias = (r.to(x.dtype) for r in results)
    else:
        dx, passed, dweight, dbias = BatchNormGrad.apply(
            dy, x, weight, bias, y, moments, eps, training, relu, load(row)
        )
        # An op's results may not share memory.
        dbias = dbias.clone()
    return dx, dy.new_empty(0) if y is None else passed, dweight, dbias


@batch_norm_backward.register_fake
def _(dy: Any, x: Any, weight: Any, bias: Any, y: Any, *given: Any) -> Any:
    passed = dy.new_empty(0) if y is None else empty_like(x, x.shape)
    return empty_like(x, x.shape), passed, x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


def _save(ctx: Any, given: Any, y: Any, moments: Any) -> None:
    x, weight, bias, residual, ctx.eps, ctx.relu, ctx.algorithm = given
    kept = y if ctx.relu and residual is not None else None
    ctx.save_for_backward(x, weight, bias, kept, moments)


def _gradients(ctx: Any, dy: Any, training: bool) -> tuple[Any, Any, Any, Any]:
    """Of x, weight, bias and residual."""
    *saved, moments = ctx.saved_tensors
    dx, passed, dweight, dbias = batch_norm_backward(
        dy, *saved, moments, ctx.eps, training, ctx.relu, ctx.algorithm
    )
    return dx, dweight, dbias, dy if saved[3] is None else passed


def _save_training(ctx: Any, inputs: Any, output: Any) -> None:
    _save(ctx, inputs, *output)


def _training_gradient(ctx: Any, dy: Any, _: Any) -> Any:
    return *_wanted(ctx, _gradients(ctx, dy, True), (0, 1, 2, 3)), None, None, None


def _save_inference(ctx: Any, inputs: Any, output: Any) -> None:
    x, mean, var, *given = inputs
    _save(ctx, (x, *given), output, torch.stack((mean, var)).double())


def _inference_gradient(ctx: Any, dy: Any) -> Any:
    dx, *others = _wanted(ctx, _gradients(ctx, dy, False), (0, 3, 4, 5))
    return dx, None, None, *others, None, None, None


def _wanted(ctx: Any, grads: Any, places: tuple[int, ...]) -> list[Any]:
    return [g if ctx.needs_input_grad[i] else None for g, i in zip(grads, places, strict=True)]


batch_norm_moments.register_autograd(_training_gradient, setup_context=_save_training)
batch_norm_inference.register_autograd(_inference_gradient, setup_context=_save_inference)
