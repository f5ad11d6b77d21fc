"""Pooling as autograd sees it: each function's gradient is another function of this file."""

from typing import Any

from torch.autograd import Function

from convscape.ops.bridge import run


class Maximum(Function):
    """The maxima, and the numbers of their kernel cells."""

    @staticmethod
    def forward(ctx: Any, x: Any, plan: Any) -> Any:
        """Compute them by a `convscape.ops.pool_plan.Plan`."""
        y, where = plan.maximum(x)
        ctx.mark_non_differentiable(where)
        ctx.set_materialize_grads(False)  # no zeros for the numbers, which have no gradient
        ctx.save_for_backward(where)
        ctx.plan = plan
        return y, where

    @staticmethod
    def backward(ctx: Any, dy: Any, _: Any) -> Any:
        """The gradient of x."""
        if dy is None:
            return None, None
        (where,) = ctx.saved_tensors
        return run(_MaximumGrad, dy, where, ctx.plan), None


class _MaximumGrad(Function):
    """Scatters dy to where the maxima were; its own gradient picks them up again."""

    @staticmethod
    def forward(ctx: Any, dy: Any, where: Any, plan: Any) -> Any:
        if ctx is not None:
            ctx.save_for_backward(where)
            ctx.plan = plan
        return plan.maximum_grad(dy, where)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (where,) = ctx.saved_tensors
        return run(_Pick, g, where, ctx.plan), None, None


class _Pick(Function):
    """The values at the cells where the maxima were; its gradient scatters again."""

    @staticmethod
    def forward(ctx: Any, x: Any, where: Any, plan: Any) -> Any:
        if ctx is not None:
            ctx.save_for_backward(where)
            ctx.plan = plan
        return plan.pick(x, where)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (where,) = ctx.saved_tensors
        return run(_MaximumGrad, g, where, ctx.plan), None, None


class Average(Function):
    """The averages; its gradient gives every cell its share."""

    @staticmethod
    def forward(ctx: Any, x: Any, plan: Any) -> Any:
        """Compute them by a `convscape.ops.pool_plan.Plan`."""
        if ctx is not None:
            ctx.plan = plan
        return plan.average(x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        """The gradient of x."""
        return run(_AverageGrad, dy, ctx.plan), None


class _AverageGrad(Function):
    """Averaging is linear: the gradient of its adjoint is the average again."""

    @staticmethod
    def forward(ctx: Any, dy: Any, plan: Any) -> Any:
        if ctx is not None:
            ctx.plan = plan
        return plan.average_grad(dy)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return run(Average, g, ctx.plan), None
