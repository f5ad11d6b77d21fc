"""Batch normalization, training and inference.

Inside there is one convention: the batch's variance is biased, `decay` is what a running statistic
keeps, `correction` what its count lacks. Each front translates its framework's own.
"""

import torch
from torch.nn import functional

from convscape.ops.batch_norm_grad import KEEP, BatchNorm, Blend, record
from convscape.ops.batch_norm_plan import (
    INFERENCE,
    MOMENTS,
    TRAINING,
    Maybe,
    Plan,
    channels_of,
    check,
    check_running,
    plan_of,
)
from convscape.ops.bridge import needs_grad


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
    if torch.compiler.is_compiling():
        return _compiled(
            x, running_mean, running_var, weight, bias, training, momentum, eps, relu, residual,
            algorithm,
        )  # fmt: skip
    wanted = TRAINING if training else INFERENCE
    tensors = x, weight, bias, residual, running_mean, running_var
    plan = plan_of(*tensors, wanted, algorithm)
    if plan.kernels is None:
        y = functional.batch_norm(
            x, running_mean, running_var, weight, bias, training, momentum, eps
        )
        return _finish(y, residual, relu)
    if training:
        return _train(plan, *tensors, eps, 1 - momentum, 1, relu)
    if plan.count == 0:
        return _finish(x.clone(), residual, relu)
    return _normalize(plan, *tensors, None, eps, relu)[0]


def batch_norm_training(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    decay: float,
    correction: int,
    axis: int = 1,
    algorithm: str = "auto",
) -> torch.Tensor:
    """Normalize with the batch's statistics, and record them in this package's convention.

    It is `batch_norm_moments` followed by `update_moments`, as one call.

    Args:
        x: (N, C) or (N, C, ...), floating-point; or another order, see `axis`.
        running_mean: (C,), updated in place; or None.
        running_var: (C,), updated in place; or None.
        weight: gamma, (C,), or None for 1.
        bias: beta, (C,), or None for 0.
        eps: Added to the variance.
        decay: What a running statistic keeps: Keras's momentum, 1 - PyTorch's.
        correction: 1 stores the unbiased variance (PyTorch), 0 the biased one (Keras).
        axis: The channel axis of x and y: 1 (PyTorch), -1 (Keras), or any other.
        algorithm: "auto", or a name from `convscape.kernels.explain`.

    Returns:
        y, like x and in x's memory order.

    Raises:
        InputError: Ranks, dtypes or shapes that do not fit, an axis that x has not, or an algorithm
            that refuses.

    Example:
        >>> mean = torch.zeros(1)
        >>> batch_norm_training(
        ...     torch.tensor([[1.], [3.]]), mean, None, eps=0, decay=0.5, correction=0
        ... )
        tensor([[-1.],
                [ 1.]])
        >>> mean
        tensor([1.])
    """
    if not torch.compiler.is_compiling():
        tensors = x, weight, bias, None, running_mean, running_var
        plan = plan_of(*tensors, MOMENTS, algorithm, axis)
        if plan.kernels is not None:
            return _train(plan, *tensors, eps, decay, correction, False)
    x = x.movedim(axis, 1)
    y, mean, var = batch_norm_moments(x, weight, bias, eps, algorithm=algorithm)
    count = x.numel() // max(1, x.shape[1])
    update_moments(running_mean, running_var, mean, var, count, decay=decay, correction=correction)
    return y.movedim(1, axis)


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
    if torch.compiler.is_compiling():
        from convscape.ops import compiled

        check(channels_of(x), x, weight, bias, residual)
        y, moments = compiled.batch_norm_moments(x, weight, bias, residual, eps, relu, algorithm)
        return (y, *moments.to(x.dtype).unbind())
    tensors = x, weight, bias, residual, None, None
    plan = plan_of(*tensors, MOMENTS, algorithm)
    if plan.kernels is None:
        axes = (0, *range(2, x.dim()))
        var, mean = torch.var_mean(x.detach(), axes, correction=0)
        y = functional.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
        return _finish(y, residual, relu), mean, var
    y, found = _moments(plan, *tensors, KEEP, eps, relu)
    mean, var = found[:2].to(x.dtype).unbind()
    return y, mean, var


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
    unbiased = count / (count - correction) if count > correction else 1.0
    record(running_mean, running_var, (mean, var), (decay, 1 - decay, (1 - decay) * unbiased))


def _compiled(
    x: torch.Tensor, running_mean: torch.Tensor | None, running_var: torch.Tensor | None,
    weight: torch.Tensor | None, bias: torch.Tensor | None, training: bool, momentum: float,
    eps: float, relu: bool, residual: torch.Tensor | None, algorithm: str,
) -> torch.Tensor:  # fmt: skip
    """`batch_norm` as `torch.compile` sees it."""
    from convscape.ops import compiled

    channels = channels_of(x)
    check(channels, x, weight, bias, residual)
    check_running(channels, x, running_mean, running_var, training)
    if not training:
        result: torch.Tensor = compiled.batch_norm_inference(
            x, running_mean, running_var, weight, bias, residual, eps, relu, algorithm
        )
        return result
    y, mean, var = batch_norm_moments(
        x, weight, bias, eps, relu=relu, residual=residual, algorithm=algorithm
    )
    count = x.numel() // max(1, x.shape[1])
    update_moments(running_mean, running_var, mean, var, count, decay=1 - momentum, correction=1)
    return y


def _train(
    plan: Plan, x: torch.Tensor, weight: Maybe, bias: Maybe, residual: Maybe, mean: Maybe,
    var: Maybe, eps: float, decay: float, correction: int, relu: bool,
) -> torch.Tensor:  # fmt: skip
    """Y by our kernels, and the batch's statistics blended into the running ones."""
    count = plan.count
    unbiased = count / (count - correction) if count > correction else 1.0
    blend = decay, 1 - decay, (1 - decay) * unbiased
    return _moments(plan, x, weight, bias, residual, mean, var, blend, eps, relu)[0]


def _moments(
    plan: Plan, x: torch.Tensor, weight: Maybe, bias: Maybe, residual: Maybe, mean: Maybe,
    var: Maybe, blend: Blend, eps: float, relu: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Y with the batch's statistics, and those: NaN where the batch is empty."""
    if plan.count == 0:
        found = torch.full((2, x.shape[plan.axis]), torch.nan, dtype=torch.float64)
        record(mean, var, found, blend)
        return _finish(x.clone(), residual, relu), found
    return _normalize(plan, x, weight, bias, residual, mean, var, blend, eps, relu)


def _normalize(
    plan: Plan, x: torch.Tensor, weight: Maybe, bias: Maybe, residual: Maybe, mean: Maybe,
    var: Maybe, blend: Blend | None, eps: float, relu: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Y and the moments used, as in `BatchNorm.forward`."""
    found: list[torch.Tensor] = []
    given = x, weight, bias, residual, (mean, var), blend, eps, relu, plan, found
    if needs_grad(x, weight, bias, residual):
        y: torch.Tensor = BatchNorm.apply(*given)
    else:
        y = BatchNorm.forward(None, *given)
    return y, found[0]


def _finish(y: torch.Tensor, residual: torch.Tensor | None, relu: bool) -> torch.Tensor:
    """What the kernels fuse, by torch."""
    y = y if residual is None else y + residual
    return torch.relu(y) if relu else y
