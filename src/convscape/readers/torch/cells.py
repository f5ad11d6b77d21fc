"""Rules for PyTorch's functions cell by cell, and reductions."""

from collections.abc import Callable, Mapping
from typing import Any

from convscape.arithmetic.network import Node, Weight
from convscape.readers.torch.call import Call, shape_of, under_names, weights_among


def _cellwise(op: str, view: bool = False) -> Callable[..., Any]:
    def rule(c: Call, *args: Any, **kwargs: Any) -> Any:
        tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, (Node, Weight))]
        if not any(isinstance(v, Node) for v in tensors):
            tensors = [c.node(v) for v in tensors]
        dtype = {"dtype": "bool"} if op == "compare" else {}
        return c.builder.pointwise(c.name, op, tensors, view=view or c.inplace, **dtype)

    return rule


def dropout(
    c: Call, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Node:
    """F.dropout and its kin."""
    settings = {"rate": p}
    return c.builder.pointwise(c.name, "dropout", [c.node(input)], view=True, settings=settings)


def prelu(c: Call, input: Any, weight: Any) -> Node:
    """F.prelu: a slope for all, or for each channel."""
    return c.builder.pointwise(c.name, "prelu", [c.node(input)], weights=weights_among(weight))


def to(c: Call, input: Any, *args: Any, **kwargs: Any) -> Node:
    """Tensor.to, type, float, half, ...: another type of number."""
    dtype = next(
        (str(v).removeprefix("torch.") for v in (*args, *kwargs.values()) if "torch." in str(v)
         and "device" not in str(type(v))), None,
    )  # fmt: skip
    x = c.node(input)
    if dtype is None or dtype == x.dtype:
        return c.builder.pointwise(c.name, "identity", [x], view=True)
    return c.builder.pointwise(c.name, "cast", [x], dtype=dtype)


def _reduction(op: str) -> Callable[..., Node]:
    def rule(
        c: Call, input: Any, dim: Any = None, keepdim: bool = False, *_: Any, **__: Any
    ) -> Node:
        x = c.node(input)
        axes = range(len(shape_of(x))) if dim is None else [dim] if isinstance(dim, int) else dim
        return c.builder.reduce(c.name, op, x, axes, keepdim)

    return rule


CELLS: Mapping[str, Callable[..., Any]] = {
    "prelu": prelu,
    **under_names("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout", dropout),
    **under_names("to type float half double bfloat16 _to_copy type_as", to),
    **{op: _reduction(op) for op in ("mean", "sum", "amax", "amin", "var", "std", "norm")},
    **under_names(
        "contiguous clone detach alias positive detach_ lift_fresh_copy",
        _cellwise("identity", view=True),
    ),
    **{
        op: _cellwise(op)
        for op in (
            "relu", "relu6", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "elu",
            "selu", "leaky_relu", "softplus", "mish", "add", "sub", "mul", "exp", "sqrt",
            "rsqrt", "abs", "log", "celu", "logsigmoid", "hardtanh", "erf", "sin", "cos", "floor",
            "where", "reciprocal", "round", "softsign", "threshold", "rsub", "fmod",
        )
    },
    **under_names("truediv div true_divide", _cellwise("div")),
    **under_names("neg negative", _cellwise("neg")),
    **under_names("pow square", _cellwise("pow")),
    **under_names("clamp clip clamp_min clamp_max", _cellwise("clamp")),
    "maximum": _cellwise("max"),
    "minimum": _cellwise("min"),
    **under_names("masked_fill zeros_like ones_like full_like", _cellwise("fill")),
    **under_names("eq ne gt lt ge le logical_not bitwise_not logical_and", _cellwise("compare")),
    "iadd": _cellwise("add"),
    "imul": _cellwise("mul"),
}  # fmt: skip
"""The functions that work cell by cell, or over whole axes."""
