"""Batch normalization for autograd: the kernels forward and backward, the formula beyond."""

from typing import Any

import torch
from torch.autograd import Function

from convscape.ops.bridge import array, run, tensor, threads


class BatchNorm(Function):
    """y; first derivatives by the kernels."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, residual: Any, statistics: Any, eps: Any,
        relu: Any, kernels: Any, found: Any,
    ) -> Any:  # fmt: skip
        """Normalize with `statistics` (mean and variance), or with the batch's if None.

        The moments used, (2, C) in float64, are appended to the list `found`: as a result autograd
        would keep them, and make zeros for their gradient.
        """
        y, moments = kernels.normalize(
            array(x), _array(weight), _array(bias), statistics, eps, _array(residual), relu,
            threads(),
        )  # fmt: skip
        found.append(moments)
        result = tensor(y)
        if ctx is not None:
            # y tells what ReLU let through; without a residual that is computed again from x.
            kept = result if relu and residual is not None else None
            ctx.save_for_backward(x, weight, bias, kept)
            ctx.given = moments, eps, statistics is None, relu, kernels
        return result

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        """The gradients of x, weight, bias and residual."""
        wanted = ctx.needs_input_grad
        dx, passed, dweight, dbias = run(BatchNormGrad, dy, *ctx.saved_tensors, *ctx.given)
        if passed is None and wanted[3]:
            passed = dy
        return (
            dx if wanted[0] else None,
            dweight if wanted[1] else None,
            dbias if wanted[2] else None,
            passed if wanted[3] else None,
            None, None, None, None, None,
        )  # fmt: skip


class BatchNormGrad(Function):
    """The gradients, as a function that has derivatives of its own."""

    @staticmethod
    def forward(
        ctx: Any, dy: Any, x: Any, weight: Any, bias: Any, y: Any, moments: Any, eps: Any,
        training: Any, relu: Any, kernels: Any,
    ) -> Any:  # fmt: skip
        """dx, what ReLU passed of dy (None unless y is given), dweight and dbias."""
        if ctx is not None:
            ctx.save_for_backward(dy, x, weight, bias, y)
            ctx.given = moments, eps, training, relu
        dx, passed, grads = kernels.normalize_grad(
            array(dy), array(x), _array(y), _array(weight), _array(bias), moments, eps,
            training, relu, threads(),
        )  # fmt: skip
        return tensor(dx), None if y is None else tensor(passed), *map(tensor, grads)

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        """The formula's derivatives, by torch."""
        dy, x, weight, bias, y = ctx.saved_tensors
        moments, eps, training, relu = ctx.given
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
            found = tensor(moments).to(x.dtype)
            results = formula(
                variables[1], gamma, bias, y, found, eps, variables[0], training, relu
            )
            pairs = [(r, g) for r, g in zip(results, given, strict=True) if g is not None]
            grads = torch.autograd.grad(
                [r for r, _ in pairs], variables, [g for _, g in pairs], allow_unused=True,
                create_graph=again,
            )  # fmt: skip
        padded = list(grads) if weight is not None else [*grads, None]
        return (*padded, *(None,) * 7)


def formula(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, y: torch.Tensor | None,
    moments: torch.Tensor, eps: float, dy: torch.Tensor, training: bool, relu: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """dx, dresidual, dweight and dbias, as one reads them in the paper; differentiable by torch.

    Second derivatives take this slow form: they are rare. ReLU's mask is a constant, from y where
    it is given (a residual went into it).
    """
    axes = (0, *range(2, x.dim()))
    shape = (1, -1, *(1,) * (x.dim() - 2))
    mean, var = moments
    if training:
        var, mean = torch.var_mean(x, axes, correction=0)
    s = (var + eps).rsqrt()
    normal = (x - mean.reshape(shape)) * s.reshape(shape)
    if relu:
        with torch.no_grad():
            if y is None:
                y = normal * weight.reshape(shape)
                y = y if bias is None else y + bias.reshape(shape)
            stopped = y <= 0  # NaN passes
        dy = dy.masked_fill(stopped, 0)
    dbias = dy.sum(axes)
    dweight = (dy * normal).sum(axes)
    dx = dy
    if training:
        count = x.numel() // x.shape[1]
        dx = dy - (dbias.reshape(shape) + normal * dweight.reshape(shape)) / count
    return dx * (weight * s).reshape(shape), dy, dweight, dbias


def _array(x: torch.Tensor | None) -> Any:
    return None if x is None else array(x)
