"""Pooling as autograd sees it: each function's gradient is another function of this file."""

from typing import Any

from torch.autograd import Function

from convscape.ops.bridge import array, run, tensor, threads


class _Maximum(Function):
    """The maxima, and the numbers of their kernel cells."""

    @staticmethod
    def forward(ctx: Any, x: Any, geometry: Any, kernels: Any) -> Any:
        y, cell = kernels.maximum(array(x), geometry, threads())
        where = tensor(cell)
        ctx.mark_non_differentiable(where)
        ctx.set_materialize_grads(False)  # no zeros for the numbers, which have no gradient
        ctx.save_for_backward(where)
        ctx.geometry, ctx.kernels, ctx.spatial = geometry, kernels, tuple(x.shape[2:])
        return tensor(y), where

    @staticmethod
    def backward(ctx: Any, dy: Any, _: Any) -> Any:
        if dy is None:
            return None, None, None
        (where,) = ctx.saved_tensors
        return run(_MaximumGrad, dy, where, ctx.geometry, ctx.kernels, ctx.spatial), None, None


class _MaximumGrad(Function):
    """Scatters dy to where the maxima were; its own gradient picks them up again."""

    @staticmethod
    def forward(ctx: Any, dy: Any, where: Any, geometry: Any, kernels: Any, spatial: Any) -> Any:
        if ctx is not None:
            ctx.save_for_backward(where)
            ctx.geometry, ctx.kernels, ctx.spatial = geometry, kernels, spatial
        return tensor(kernels.maximum_grad(array(dy), array(where), geometry, spatial, threads()))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (where,) = ctx.saved_tensors
        given = where, ctx.geometry, ctx.kernels, ctx.spatial
        return run(_Pick, g, *given), None, None, None, None


class _Pick(Function):
    """The values at the cells where the maxima were; its gradient scatters again."""

    @staticmethod
    def forward(ctx: Any, x: Any, where: Any, geometry: Any, kernels: Any, spatial: Any) -> Any:
        if ctx is not None:
            ctx.save_for_backward(where)
            ctx.geometry, ctx.kernels, ctx.spatial = geometry, kernels, spatial
        return tensor(kernels.pick(array(x), array(where), geometry, threads()))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (where,) = ctx.saved_tensors
        given = where, ctx.geometry, ctx.kernels, ctx.spatial
        return run(_MaximumGrad, g, *given), None, None, None, None


class _Average(Function):
    """The averages; its gradient gives every cell its share."""

    @staticmethod
    def forward(ctx: Any, x: Any, geometry: Any, counts: Any, kernels: Any) -> Any:
        if ctx is not None:
            ctx.given, ctx.spatial = (geometry, counts, kernels), tuple(x.shape[2:])
        return tensor(kernels.average(array(x), geometry, counts, threads()))

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return run(_AverageGrad, dy, ctx.spatial, *ctx.given), None, None, None


class _AverageGrad(Function):
    """Averaging is linear: the gradient of its adjoint is the average again."""

    @staticmethod
    def forward(ctx: Any, dy: Any, spatial: Any, geometry: Any, counts: Any, kernels: Any) -> Any:
        if ctx is not None:
            ctx.given = geometry, counts, kernels
        return tensor(kernels.average_grad(array(dy), geometry, counts, spatial, threads()))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return run(_Average, g, *ctx.given), None, None, None, None
