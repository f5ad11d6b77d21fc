"""Rules for ONNX's operators cell by cell, dense layers, normalization and reductions."""

from collections.abc import Callable, Mapping

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node, Weight
from convscape.readers.onnx.call import Call, Numbers, Rule, shape_of


def _batch_norm(call: Call) -> Node:
    weights = [*call.weight(1), *call.weight(2), *call.weight(3, True), *call.weight(4, True)]
    settings = {
        "dialect": "onnx", "axis": 1, "momentum": call.attributes.get("momentum", 0.9),
        "epsilon": call.attributes.get("epsilon", 1e-5),
    }  # fmt: skip
    return call.builder.pointwise(
        call.name, "batch_norm", [call.x], weights=weights, settings=settings
    )


def _instance_norm(call: Call) -> Node:
    weights = [*call.weight(1), *call.weight(2)]
    axes = range(2, len(call.shape))
    return call.builder.mix(call.name, "instance_norm", call.x, axes, weights=weights)


def _group_norm(call: Call) -> Node:
    weights = [*call.weight(1), *call.weight(2)]
    axes = range(1, len(call.shape))
    return call.builder.mix(call.name, "group_norm", call.x, axes, weights=weights)


def _layer_norm(call: Call) -> Node:
    axis = int(call.attributes.get("axis", -1)) % len(call.shape)
    weights = [*call.weight(1), *call.weight(2)]
    axes = range(axis, len(call.shape))
    return call.builder.mix(call.name, "layer_norm", call.x, axes, weights=weights)


def _gemm(call: Call) -> Node:
    flip = bool(call.attributes.get("transB"))
    wanted = shape_of(call.args[1])
    if call.attributes.get("transA"):
        raise InputError("Gemm is followed without transA", "transA=1", "-")
    if isinstance(call.args[1], Node) and not flip:
        return call.builder.matmul(call.name, call.x, call.args[1])
    units, features = wanted if flip else wanted[::-1]
    return call.builder.dense(
        call.name, call.x, units, in_features=features,
        weights=[*call.weight(1), *call.weight(2)],
        settings={"dialect": "onnx", "bias": call.given(2)},
    )  # fmt: skip


def _matmul(call: Call) -> Node:
    right = call.args[1]
    if isinstance(right, Weight) and len(right.shape) == 2:
        features, units = right.shape
        return call.builder.dense(
            call.name, call.x, units, in_features=features, weights=[right],
            settings={"dialect": "onnx", "bias": False},
        )  # fmt: skip
    return call.builder.matmul(call.name, call.x, call.node(right))


def _cellwise(op: str, view: bool = False) -> Rule:
    def rule(call: Call) -> Node:
        values = [a.weight if isinstance(a, Numbers) else a for a in call.args if a is not None]
        if not any(isinstance(v, Node) for v in values):
            values = [call.node(v) for v in values]
        return call.builder.pointwise(call.name, op, values, view=view)

    return rule


def _unary(op: str, view: bool = False) -> Rule:
    """Cell by cell on the first input; the others are settings (bounds, rates)."""

    def rule(call: Call) -> Node:
        return call.builder.pointwise(call.name, op, [call.x], view=view)

    return rule


def _dropout(call: Call) -> Node:
    rate = call.numbers(1, "ratio") or [0.5]
    return call.builder.pointwise(
        call.name, "dropout", [call.x], view=True, settings={"rate": rate[0]}
    )


def _prelu(call: Call) -> Node:
    return call.builder.pointwise(call.name, "prelu", [call.x], weights=call.weight(1))


def _softmax(op: str) -> Rule:
    def rule(call: Call) -> Node:
        axis = int(call.attributes.get("axis", -1 if call.opset >= 13 else 1))
        axes = [axis] if call.opset >= 13 else range(axis % len(call.shape), len(call.shape))
        return call.builder.mix(call.name, op, call.x, axes)

    return rule


def _reduction(op: str) -> Rule:
    def rule(call: Call) -> Node:
        axes = call.numbers(1, "axes")
        if axes is None:
            if call.attributes.get("noop_with_empty_axes"):
                return call.builder.pointwise(call.name, "identity", [call.x], view=True)
            axes = list(range(len(call.shape)))
        keep = bool(call.attributes.get("keepdims", 1))
        return call.builder.reduce(call.name, op, call.x, axes, keep)

    return rule


def _each(names: str, rule: Callable[[str], Rule]) -> dict[str, Rule]:
    return {name: rule(name.lower()) for name in names.split()}


CELLS: Mapping[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _layer_norm),
    "Gemm": _gemm,
    "MatMul": _matmul,
    **_each("Add Sub Mul Div Max Min Where", _cellwise),
    **_each(
        "Relu Sigmoid Tanh Elu Selu Gelu HardSigmoid HardSwish Softplus Mish Erf Exp Log Sqrt "
        "Abs Neg Reciprocal Floor Ceil Celu Softsign Sin Cos Round Sign Not Swish",
        _unary,
    ),
    "LeakyRelu": _unary("leaky_relu"),
    "Pow": _unary("pow"),
    "Clip": _unary("clamp"),
    "Cast": _unary("cast"),
    "Identity": _unary("identity", view=True),
    "Sum": _cellwise("add"),
    "Mean": _cellwise("average"),
    "Dropout": _dropout,
    "PRelu": _prelu,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "ReduceMean": _reduction("mean"),
    "ReduceSum": _reduction("sum"),
    "ReduceMax": _reduction("amax"),
    "ReduceMin": _reduction("amin"),
    "ReduceL2": _reduction("norm"),
}
"""The operators that work cell by cell, multiply matrices or reduce axes."""
