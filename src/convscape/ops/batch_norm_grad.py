"""Batch normalization for autograd: the kernels forward and backward, the formula beyond."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.graph import increment_version

from convscape.kernels.cpu import memory
from convscape.ops.bridge import array, dtype_name, has_memory, results, run, tensor, threads

Blend = tuple[float, float, float]
"""What running statistics keep, and take of a batch's mean and of its variance."""

KEEP: Blend = (1.0, 0.0, 0.0)


class BatchNorm(Function):
    """y; first derivatives by the kernels."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, residual: Any, running: Any, blend: Any,
        eps: Any, relu: Any, plan: Any, found: Any,
    ) -> Any:  # fmt: skip
        """Normalize with the batch's moments, and `blend` them into the running ones if given.

        With the running ones (mean and variance) where `blend` is None. The moments used are
        appended to the list `found`, the first two rows of (2 or more, C) in float64: as a result
        autograd would keep them, and make zeros for their gradient.
        """
        lying = x if plan.axis == 1 else x.movedim(plan.axis, 1)
        y, moments = _normalized(lying, weight, bias, residual, running, blend, eps, relu, plan)
        found.append(moments)
        if ctx is not None:
            # y tells what ReLU let through; without a residual that is computed again from x.
            kept = y if relu and residual is not None else None
            ctx.save_for_backward(x, weight, bias, kept)
            ctx.given = moments, eps, blend is not None, relu, plan.kernels
            ctx.axis = plan.axis
        # Autograd forbids to change a view that was made in here; a detached one is none to it.
        return y if plan.axis == 1 else y.movedim(1, plan.axis).detach()

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        """The gradients of x, weight, bias and residual."""
        wanted = ctx.needs_input_grad
        x, *others = ctx.saved_tensors
        if ctx.axis != 1:
            dy, x = dy.movedim(ctx.axis, 1), x.movedim(ctx.axis, 1)
        dx, passed, dweight, dbias = run(BatchNormGrad, dy, x, *others, *ctx.given)
        if ctx.axis != 1:
            dx = dx.movedim(1, ctx.axis)
        if passed is None and wanted[3]:
            passed = dy
        return (
            dx if wanted[0] else None,
            dweight if wanted[1] else None,
            dbias if wanted[2] else None,
            passed if wanted[3] else None,
            *(None,) * 6,
        )


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
        call = _bound_grad(dy, x, y, weight, bias, eps, training, relu, kernels)
        if call is None:
            *lying, passed, grads = kernels.normalize_grad(
                array(dy), array(x), _array(y), _array(weight), _array(bias), array(moments)[:2],
                eps, training, relu, threads(),
            )  # fmt: skip
            dx, passed, grads = map(tensor, (*lying, passed, grads))
        else:
            dx, grads, *others = results(call, x)
            passed = others[0] if others else None
            tensors = x, dy, y, passed, dx, weight, bias, moments, grads
            call.fill(*[0 if t is None else t.data_ptr() for t in tensors])
        return dx, None if y is None else passed, *grads.unbind()

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
            found = moments[:2].to(x.dtype)
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


def record(mean: Any, var: Any, batch: Any, blend: Blend) -> None:
    """Blend a batch's mean and variance into the running ones, in place, by torch."""
    keep, *take = blend
    with torch.no_grad():
        for running, value, part in zip((mean, var), batch, take, strict=True):
            if running is not None:
                running.mul_(keep).add_(value.to(running), alpha=part)


def _normalized(
    x: Any, weight: Any, bias: Any, residual: Any, running: Any, blend: Any, eps: Any, relu: Any,
    plan: Any,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Y and the moments; see `BatchNorm.forward`."""
    call = None
    if plan.direct:
        key = threads(), blend is None, eps, relu
        call = plan.calls.get(key, False)
        if call is False:
            call = plan.calls[key] = plan.kernels.bind(
                x.shape, x.stride(), dtype_name(x.dtype), threads(), plan.given, blend is not None,
                relu, eps,
            )  # fmt: skip
    if call is None:
        statistics = None if blend is not None else tuple(map(array, running))
        found = plan.kernels.normalize(
            array(x), _array(weight), _array(bias), statistics, eps, _array(residual), relu,
            threads(),
        )  # fmt: skip
        y, moments = map(tensor, found)
        if blend is not None:
            record(running[0], running[1], moments, blend)
        return y, moments
    y, moments = results(call, x, weight, bias, residual, *running)
    tensors = x, residual, y, weight, bias, *running, moments
    blending = _numbers(blend or KEEP)  # lives as long as this call
    places = [0 if t is None else t.data_ptr() for t in tensors]
    call.fill(*places, memory.address(blending))
    if blend is not None:
        for moved in running:
            if moved is not None and not moved.is_inference():  # autograd notices the new value
                increment_version(moved)
    return y, moments


@lru_cache(maxsize=1024)
def _numbers(blend: Blend) -> Any:
    return np.array(blend, float)


def _bound_grad(
    dy: Any, x: Any, y: Any, weight: Any, bias: Any, eps: Any, training: Any, relu: Any,
    kernels: Any,
) -> Any:  # fmt: skip
    """What the kernels bind for gradients of these tensors; None where they are told arrays."""
    beside = [t for t in (y, weight, bias) if t is not None]
    if not hasattr(kernels, "bind_grad") or not has_memory(x, dy, *beside):
        return None
    strides = x.stride()
    alike = dy.stride() == strides and (y is None or y.stride() == strides)
    if not alike or any(v is not None and v.stride() != (1,) for v in (weight, bias)):
        return None
    given = weight is not None, bias is not None, y is not None
    return kernels.bind_grad(
        x.shape, strides, dtype_name(x.dtype), threads(), given, training, relu, eps
    )


def _array(x: torch.Tensor | None) -> Any:
    return None if x is None else array(x)
