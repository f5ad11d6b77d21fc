"""Batch normalization, training and inference.

Inside there is one convention: the batch's variance is biased, `decay` is what a running statistic
keeps, `correction` what its count lacks. Each front translates its framework's own.
"""

import torch
from torch.nn import functional

from convscape.arithmetic.errors import InputError
from convscape.kernels import choose, load
from convscape.ops.batch_norm_grad import BatchNorm
from convscape.ops.bridge import array, check_input, check_same, problem


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
    relu: bool = False,
    residual: torch.Tensor | None = None,
    algorithm: str = "auto",
) -> torch.Tensor:
    """Normalize each channel over batch and positions, as `torch.nn.functional.batch_norm`.

    y = weight (x - mean) / sqrt(var + eps) + bias, with the batch's biased variance in training
    and the running statistics otherwise; then a residual is added and ReLU taken if asked for, in
    the same pass over memory: relu(y + residual). Training updates the running statistics in place:
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
        relu: Whether to take max(y, 0); its gradient at 0 is 0, and NaN passes.
        residual: Like x, any memory layout, added before the ReLU; or None.
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
        >>> batch_norm(torch.tensor([[1.], [3.]]), None, None, training=True, eps=0, relu=True)
        tensor([[0.],
                [1.]])
    """
    _check(x, weight, bias, residual)
    for name, value in (("running_mean", running_mean), ("running_var", running_var)):
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
    if torch.compiler.is_compiling():
        if not training:
            from convscape.ops import compiled

            result: torch.Tensor = compiled.batch_norm_inference(
                x, running_mean, running_var, weight, bias, residual, eps, relu, algorithm
            )
            return result
    else:
        row = choose(problem("batch_norm", x), algorithm)
        if row.module is None:
            y = functional.batch_norm(
                x, running_mean, running_var, weight, bias, training, momentum, eps
            )
            return _finish(y, residual, relu)
        if not training:
            if x.numel() == 0:
                return _finish(x.clone(), residual, relu)
            assert running_mean is not None
            assert running_var is not None
            statistics = array(running_mean), array(running_var)
            given = residual, statistics, eps, relu, load(row)
            inferred: torch.Tensor = BatchNorm.apply(x, weight, bias, *given)[0]
            return inferred
    y, mean, var = batch_norm_moments(
        x, weight, bias, eps, relu=relu, residual=residual, algorithm=algorithm
    )
    count = x.numel() // max(1, x.shape[1])
    update_moments(running_mean, running_var, mean, var, count, decay=1 - momentum, correction=1)
    return y


def batch_norm_moments(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    relu: bool = False,
    residual: torch.Tensor | None = None,
    algorithm: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalize with the batch's statistics, and return them too; nothing is updated.

    Args:
        x: (N, C) or (N, C, ...), floating-point.
        weight: gamma, (C,), or None for 1.
        bias: beta, (C,), or None for 0.
        eps: Added to the variance.
        relu: Whether to take max(y, 0).
        residual: Like x, added before the ReLU; or None.
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
    _check(x, weight, bias, residual)
    if torch.compiler.is_compiling():
        from convscape.ops import compiled

        y, moments = compiled.batch_norm_moments(x, weight, bias, residual, eps, relu, algorithm)
        return (y, *moments.to(x.dtype).unbind())
    row = choose(problem("batch_norm", x), algorithm)
    if row.module is None:
        axes = (0, *range(2, x.dim()))
        var, mean = torch.var_mean(x.detach(), axes, correction=0)
        y = functional.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
        return _finish(y, residual, relu), mean, var
    if x.numel() == 0:
        nan = x.new_full((x.shape[1],), torch.nan)
        return _finish(x.clone(), residual, relu), nan, nan.clone()
    y, moments = BatchNorm.apply(x, weight, bias, residual, None, eps, relu, load(row))
    return (y, *moments.to(x.dtype).unbind())


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


def _finish(y: torch.Tensor, residual: torch.Tensor | None, relu: bool) -> torch.Tensor:
    """What the kernels fuse, by torch."""
    y = y if residual is None else y + residual
    return torch.relu(y) if relu else y


def _check(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
) -> None:
    check_input(x, "input", tuple(range(2, 8)), "(N, C) or (N, C, ...)")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            _check_channels(name, value, x)
            if x.dtype in (torch.float32, torch.float64):
                check_same(name, x, value)  # half precision may keep its parameters in float32
    if residual is not None:
        check_same("residual", x, residual)
        if residual.shape != x.shape:
            raise InputError(
                "residual must have the input's shape",
                f"residual {tuple(residual.shape)}, input {tuple(x.shape)}",
                "expand it: residual.expand_as(input)",
            )


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
