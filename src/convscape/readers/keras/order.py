"""Rules for Keras's reshapes, permutations and joins."""

from collections.abc import Mapping
from math import prod

from convscape.arithmetic.network import Node
from convscape.readers.keras.call import Call, Rule, under_names


def _concat(call: Call) -> Node:
    return call.builder.concat(call.name, call.inputs, call.config.get("axis", -1))


def _flatten(call: Call) -> Node:
    return call.builder.reshape(
        call.name, call.x, (call.shape[0], prod(call.shape[1:])), op="flatten"
    )


def _reshape(call: Call) -> Node:
    if "target_shape" in call.config:
        shape = (call.shape[0], *call.config["target_shape"])
    else:
        shape = tuple(call.config["newshape"])
        if shape.count(-1) + shape.count(None) > 1 or shape[0] in (-1, None):
            shape = (call.shape[0] if shape[0] in (-1, None) else shape[0], *shape[1:])
    return call.builder.reshape(call.name, call.x, shape)


def _permute(call: Call) -> Node:
    if "dims" in call.config:
        order = (0, *call.config["dims"])
    else:
        order = call.config.get("axes") or tuple(reversed(range(len(call.shape))))
    return call.builder.permute(call.name, call.x, order)


def _repeat(call: Call) -> Node:
    link = ((0, None), (2, None))
    batch, width = call.shape
    return call.builder.add(
        call.name, "expand", (call.x,), (batch, call.config["n"], width), (link,)
    )


def _expand_dims(call: Call) -> Node:
    axis = call.config.get("axis", 0)
    axis = axis[0] if isinstance(axis, (list, tuple)) else axis
    shape = list(call.shape)
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, 1)
    return call.builder.reshape(call.name, call.x, shape)


ORDER: Mapping[str, Rule] = {
    "Concatenate": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    **under_names("Permute Transpose", _permute),
    "RepeatVector": _repeat,
    "ExpandDims": _expand_dims,
}
"""The layers that move cells."""
