"""Batch normalization, training and inference.

Inside there is one convention: the batch's variance is biased, `decay` is what a running statistic
keeps, `correction` what its count lacks. Each front translates its framework's own.
"""

from typing import Any

import torch
from torch.autograd import Function
from torch.nn import functional

from convscape.arithmetic.errors import InputError
from convscape.kernels import choose, load
from convscape.ops.bridge import (
    array,
    check_input,
    check_same,
    problem,
    tensor,
    threads,
)


def batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    algorithm: str = "auto",
) -> torch.Tensor:
    """Normalize each channel over batch and positions, as `torch.nn.functional.batch_norm`.

    y = weight (x - mean) / sqrt(var + eps) + bias, with the batch's biased variance in training
    and the running statistics otherwise. Training updates the running statistics in place:
    running = (1 - momentum) running + momentum batch, with the unbiased variance.

    Args:
        x: (N, C) or (N, C, ...), floating-point, any memory layout.
        running_mean: (C,), or None in training.
        running_var: (C,), or None in training.
        weight: gamma, (C,), or None for 1.
        bias: beta, (C,), or None for 0.
        training: Whether to use (and record) the batch's statistics.
        momentum: Weight of the new statistics.
        eps: Added to the variance.
        algorithm: "auto", or a name from `convscape.kernels.explain`.

    Returns:
        A tensor like x, in x's memory order.

    Raises:
        InputError: Ranks, dtypes or shapes that do not fit; training on one value a channel;
            inference without running statistics; an algorithm that refuses.

    Source: S. Ioffe and C. Szegedy, arXiv 1502.03167, algorithms 1 and 2.

    Example:
        >>> batch_norm(torch.tensor([[1.], [3.]]), None, None, training=True, eps=0)
        tensor([[-1.],
                [ 1.]])
    """
    _check(x, weight, bias)
    statistics = (("running_mean", running_mean), ("running_var", running_var))
    for name, value in statistics:
        if value is not None:
            _check_channels(name, value, x)
        elif not training:
            raise InputError(
                "inference needs running statistics",
                f"{name}=None, training=False",
                "pass them, or use training=True",
            )
    if training:
        _check_count(x)
    if not torch.compiler.is_compiling() and (
        choose(problem("batch_norm", x), algorithm).module is None
    ):
        return functional.batch_norm(
            x, running_mean, running_var, weight, bias, training, momentum, eps
        )
    if not training:
        assert running_mean is not None
        assert running_var is not None
        if torch.compiler.is_compiling():
            from convscape.ops import compiled

            result: torch.Tensor = compiled.batch_norm_inference(
                x, running_mean, running_var, weight, bias, eps, algorithm
            )
            return result
        return _normalize(x, running_mean, running_var, weight, bias, eps, algorithm)
    y, mean, var = batch_norm_moments(x, weight, bias, eps, algorithm=algorithm)
    count = x.numel() // max(1, x.shape[1])
    update_moments(running_mean, running_var, mean, var, count, decay=1 - momentum, correction=1)
    return y


def batch_norm_moments(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    algorithm: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalize with the batch's statistics, and return them too; nothing is updated.

    Args:
        x: (N, C) or (N, C, ...), floating-point.
        weight: gamma, (C,), or None for 1.
        bias: beta, (C,), or None for 0.
        eps: Added to the variance.
        algorithm: "auto", or a name from `convscape.kernels.explain`.

    Returns:
        y, and the batch's mean and biased variance, (C,) in x's dtype; gradients flow through y
        (the statistics' own dependence on x included), not through the two.

    Raises:
        InputError: Ranks, dtypes or shapes that do not fit, or an algorithm that refuses.

    Example:
        >>> y, mean, var = batch_norm_moments(torch.tensor([[1.], [3.]]))
        >>> mean, var
        (tensor([2.]), tensor([1.]))
    """
    _check(x, weight, bias)
    if torch.compiler.is_compiling():
        from convscape.ops import compiled

        y, mean, var = compiled.batch_norm_moments(x, weight, bias, eps, algorithm)
        return y, mean, var
    row = choose(problem("batch_norm", x), algorithm)
    if row.module is None:
        axes = (0, *range(2, x.dim()))
        var, mean = torch.var_mean(x.detach(), axes, correction=0)
        y = functional.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
        return y, mean, var
    kernels = load(row)
    if x.numel() == 0:
        nan = x.new_full((x.shape[1],), torch.nan)
        return x.clone(), nan, nan.clone()
    mean, var = (tensor(v) for v in kernels.moments(array(x), threads()))
    y = _BatchNorm.apply(x, weight, bias, mean, var, eps, True, kernels)
    return y, mean.to(x.dtype), var.to(x.dtype)


def update_moments(
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    mean: torch.Tensor,
    var: torch.Tensor,
    count: int,
    *,
    decay: float,
    correction: int,
) -> None:
    """Blend a batch's statistics into the running ones, in place.

    running = decay running + (1 - decay) batch; the batch's variance is first scaled by
    count / (count - correction).

    Args:
        running_mean: (C,), or None for nothing to do.
        running_var: (C,), or None for nothing to do.
        mean: The batch's mean, (C,).
        var: The batch's biased variance, (C,).
        count: Values a channel in the batch.
        decay: What is kept: Keras's momentum, 1 - PyTorch's.
        correction: 1 stores the unbiased variance (PyTorch), 0 the biased one (Keras).
    """
    with torch.no_grad():
        if running_mean is not None:
            running_mean.mul_(decay).add_(mean, alpha=1 - decay)
        if running_var is not None:
            unbiased = count / (count - correction) if count > correction else 1.0
            running_var.mul_(decay).add_(var, alpha=(1 - decay) * unbiased)


def _normalize(
    x: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
    algorithm: str,
) -> torch.Tensor:
    """Inference: the statistics are constants."""
    kernels = load(choose(problem("batch_norm", x), algorithm))
    if x.numel() == 0:
        return x.clone()
    result: torch.Tensor = _BatchNorm.apply(
        x, weight, bias, mean.double(), var.double(), eps, False, kernels
    )
    return result


def _formula(
    x: torch.Tensor, weight: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, eps: float,
    dy: torch.Tensor, training: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """dx, dweight and dbias, as one reads them in the paper; differentiable by torch itself.

    Second derivatives take this slow form: they are rare.
    """
    axes = (0, *range(2, x.dim()))
    shape = (1, -1, *(1,) * (x.dim() - 2))
    if training:
        var, mean = torch.var_mean(x, axes, correction=0)
    s = (var + eps).rsqrt()
    normal = (x - mean.reshape(shape)) * s.reshape(shape)
    dbias = dy.sum(axes)
    dweight = (dy * normal).sum(axes)
    dx = dy
    if training:
        count = x.numel() // x.shape[1]
        dx = dy - (dbias.reshape(shape) + normal * dweight.reshape(shape)) / count
    return dx * (weight * s).reshape(shape), dweight, dbias


class _BatchNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: Any, training: Any,
        kernels: Any,
    ) -> Any:  # fmt: skip
        ctx.save_for_backward(x, weight, mean, var)
        ctx.given = eps, training, kernels
        scale = (var + eps).rsqrt()
        if weight is not None:
            scale = scale * weight.double()
        shift = torch.zeros_like(scale) if bias is None else bias.double()
        y = kernels.normalize(array(x), array(mean), array(scale), array(shift), threads())
        return tensor(y)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx, dweight, dbias = _BatchNormGrad.apply(dy, *ctx.saved_tensors, *ctx.given)
        wanted = ctx.needs_input_grad
        return (
            dx if wanted[0] else None,
            dweight if wanted[1] else None,
            dbias if wanted[2] else None,
            *(None,) * 5,
        )


class _BatchNormGrad(Function):
    @staticmethod
    def forward(
        ctx: Any, dy: Any, x: Any, weight: Any, mean: Any, var: Any, eps: Any, training: Any,
        kernels: Any,
    ) -> Any:  # fmt: skip
        ctx.save_for_backward(dy, x, weight, mean, var)
        ctx.given = eps, training
        team = threads()
        center = array(mean)
        sums = kernels.gradient_sums(array(dy), array(x), center, team)
        dbias, products = (tensor(v) for v in sums)
        s = (var + eps).rsqrt()
        scale = s if weight is None else s * weight.double()
        slope, shift = torch.zeros_like(scale), torch.zeros_like(scale)
        if training:
            count = x.numel() // x.shape[1]
            slope, shift = -scale * s * s * products / count, -scale * dbias / count
        coefficients = (array(v) for v in (scale, slope, shift))
        dx = kernels.gradient(array(dy), array(x), center, *coefficients, team)
        return tensor(dx), (products * s).to(x.dtype), dbias.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        dy, x, weight, mean, var = ctx.saved_tensors
        eps, training = ctx.given
        # With create_graph the formula is differentiated in the caller's graph, so a third
        # derivative exists; otherwise in one of its own. In the caller's graph dy may itself
        # depend on x: views keep the two apart, so that each partial derivative is its own.
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            variables = [
                t.view_as(t) if again and t.requires_grad else t.detach().requires_grad_()
                for t in (dy, x, weight)
                if t is not None
            ]
            gamma = variables[2] if weight is not None else x.new_ones(x.shape[1])
            results = _formula(
                variables[1], gamma, mean.to(x.dtype), var.to(x.dtype), eps, variables[0], training
            )
            grads = torch.autograd.grad(
                results, variables, given, allow_unused=True, create_graph=again
            )
        padded = list(grads) if weight is not None else [*grads, None]
        return (*padded, *(None,) * 5)


def _check(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> None:
    check_input(x, "input", tuple(range(2, 8)), "(N, C) or (N, C, ...)")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            _check_channels(name, value, x)
            if x.dtype in (torch.float32, torch.float64):
                check_same(name, x, value)  # half precision may keep its parameters in float32


def _check_channels(name: str, value: torch.Tensor, x: torch.Tensor) -> None:
    if tuple(value.shape) != (x.shape[1],):
        raise InputError(
            f"{name} must have one number a channel",
            f"{name} {tuple(value.shape)}, input {tuple(x.shape)}",
            f"use shape ({x.shape[1]},)",
        )


def _check_count(x: torch.Tensor) -> None:
    if x.numel() == x.shape[1] and x.numel() > 0:
        raise InputError(
            "training needs more than one value a channel",
            f"input {tuple(x.shape)}",
            "use a larger batch, or training=False",
        )
