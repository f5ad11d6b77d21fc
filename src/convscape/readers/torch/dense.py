"""Rules for PyTorch's dense layers, normalization and attention, under their signatures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node, Weight
from convscape.readers.torch.call import Call, shape_of, under_names, weights_among


def linear(c: Call, input: Any, weight: Any, bias: Any = None) -> Node:
    """F.linear."""
    units, features = shape_of(weight)
    return c.builder.dense(
        c.name, c.node(input), units, in_features=features, weights=weights_among(weight, bias),
        settings={"dialect": "torch", "bias": bias is not None},
    )  # fmt: skip


def batch_norm(
    c: Call, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any,
    training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5, *_: Any,
) -> Node:  # fmt: skip
    """aten.batch_norm."""
    x = c.node(input)
    channels = shape_of(x)[1] if len(shape_of(x)) > 1 else 0
    stored = weights_among(weight, bias, running_mean, running_var)
    if any(w.shape != (channels,) for w in stored):
        raise InputError(
            f"batch normalization over {stored[0].shape[0]} channels needs as many",
            f"shape {shape_of(x)}", "check the input shape",
        )  # fmt: skip
    settings = {"dialect": "torch", "axis": 1, "momentum": momentum, "epsilon": eps,
                "statistics": running_mean is not None}  # fmt: skip
    return c.builder.pointwise(
        c.name, "batch_norm", [x], weights=[*stored, *c.buffers], settings=settings
    )


def batch_norm_function(
    c: Call, input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Node:  # fmt: skip
    """F.batch_norm, whose arguments come in another order."""
    return batch_norm(c, input, weight, bias, running_mean, running_var, training, momentum, eps)


def layer_norm(
    c: Call, input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None,
    eps: float = 1e-5, *_: Any,
) -> Node:  # fmt: skip
    """F.layer_norm and F.rms_norm."""
    x = c.node(input)
    if shape_of(x)[-len(normalized_shape) :] != tuple(normalized_shape):
        raise InputError(
            f"layer normalization needs last axes {tuple(normalized_shape)}",
            f"shape {shape_of(x)}", "check the input shape",
        )  # fmt: skip
    axes = range(-len(normalized_shape), 0)
    return c.builder.mix(c.name, "layer_norm", x, axes, weights=weights_among(weight, bias))


def group_norm(
    c: Call, input: Any, num_groups: int, weight: Any = None, bias: Any = None, *_: Any, **__: Any
) -> Node:
    """F.group_norm."""
    x = c.node(input)
    axes = range(1, len(shape_of(x)))
    return c.builder.mix(c.name, "group_norm", x, axes, weights=weights_among(weight, bias))


def instance_norm(
    c: Call, input: Any, weight: Any = None, bias: Any = None, *_: Any, **__: Any
) -> Node:
    """aten.instance_norm."""
    x = c.node(input)
    axes = range(2, len(shape_of(x)))
    stored = weights_among(weight, bias, *_)
    return c.builder.mix(c.name, "instance_norm", x, axes, weights=[*stored, *c.buffers])


def _softmax(op: str) -> Callable[..., Node]:
    def rule(c: Call, input: Any, dim: int | None = None, *_: Any, **__: Any) -> Node:
        return c.builder.mix(c.name, op, c.node(input), [-1 if dim is None else dim])

    return rule


def matmul(c: Call, input: Any, other: Any, *_: Any) -> Node:
    """torch.matmul, mm, bmm; a weight on the right is a dense layer."""
    if isinstance(other, Weight) and len(other.shape) == 2:
        return c.builder.dense(
            c.name, c.node(input), other.shape[1], in_features=other.shape[0], weights=[other]
        )
    return c.builder.matmul(c.name, c.node(input), c.node(other))


def addmm(c: Call, input: Any, mat1: Any, mat2: Any, **_: Any) -> Node:
    """torch.addmm: a bias, and a product with weights."""
    if not isinstance(mat2, Weight):
        return c.builder.matmul(c.name, c.node(mat1), c.node(mat2))
    return c.builder.dense(
        c.name, c.node(mat1), mat2.shape[1], in_features=mat2.shape[0],
        weights=weights_among(mat2, input),
    )  # fmt: skip


def attention(c: Call, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Node:
    """F.scaled_dot_product_attention."""
    return c.builder.attention(c.name, c.node(query), c.node(key), c.node(value))


def embedding(c: Call, input: Any, weight: Any, *_: Any, **__: Any) -> Node:
    """F.embedding; ATen has the weight first."""
    if isinstance(input, Weight):
        input, weight = weight, input
    x = c.node(input)
    link = tuple((a, None) for a in range(len(shape_of(x))))
    return c.builder.add(
        c.name, "embedding", (x,), (*shape_of(x), shape_of(weight)[1]), (link,),
        weights=weights_among(weight), dtype="float32",
    )  # fmt: skip


DENSE: Mapping[str, Callable[..., Any]] = {
    "linear": linear,
    "batch_norm": batch_norm_function,
    **under_names("layer_norm rms_norm", layer_norm),
    "group_norm": group_norm,
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    **under_names("matmul mm bmm", matmul),
    "addmm": addmm,
    "scaled_dot_product_attention": attention,
    "embedding": embedding,
}
"""The functions that multiply matrices or normalize."""


ATEN_DENSE: Mapping[str, Callable[..., Any]] = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
}
"""ATen operators whose arguments come in another order than those of the functions."""
