"""Rules for ONNX's reshapes, slices and joins."""

from collections.abc import Mapping
from math import prod

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node, Weight
from convscape.readers.onnx.call import Call, Rule, shape_of


def _concat(call: Call) -> Node:
    axis = int(call.attributes["axis"])
    return call.builder.concat(call.name, [call.node(a) for a in call.args], axis)


def _reshape(call: Call) -> Node:
    wanted = call.numbers(1, "shape") or []
    keep = not call.attributes.get("allowzero")
    shape = [call.shape[a] if n == 0 and keep else n for a, n in enumerate(wanted)]
    return call.builder.reshape(call.name, call.x, shape)


def _flatten(call: Call) -> Node:
    axis = int(call.attributes.get("axis", 1))
    axis += len(call.shape) * (axis < 0)
    shape = (prod(call.shape[:axis]), prod(call.shape[axis:]))
    return call.builder.reshape(call.name, call.x, shape, op="flatten")


def _transpose(call: Call) -> Node:
    order = call.attributes.get("perm") or list(reversed(range(len(call.shape))))
    return call.builder.permute(call.name, call.x, order)


def _squeeze(call: Call) -> Node:
    axes = call.numbers(1, "axes")
    gone = {a % len(call.shape) for a in axes} if axes is not None else set(range(len(call.shape)))
    shape = [n for a, n in enumerate(call.shape) if n != 1 or a not in gone]
    return call.builder.reshape(call.name, call.x, shape)


def _unsqueeze(call: Call) -> Node:
    axes = call.numbers(1, "axes") or []
    rank = len(call.shape) + len(axes)
    shape = list(call.shape)
    for axis in sorted(a % rank for a in axes):
        shape.insert(axis, 1)
    return call.builder.reshape(call.name, call.x, shape)


def _expand(call: Call) -> Node:
    wanted = call.numbers(1) or []
    rank = max(len(wanted), len(call.shape))
    padded = [1] * (rank - len(wanted)) + list(wanted)
    old = (1,) * (rank - len(call.shape)) + call.shape
    shape = [n if w == 1 else w for n, w in zip(old, padded, strict=True)]
    return call.builder.expand(call.name, call.x, shape)


def _slice(call: Call) -> Node:
    starts, ends = call.numbers(1, "starts") or [], call.numbers(2, "ends") or []
    axes = call.numbers(3, "axes") or list(range(len(starts)))
    steps = call.numbers(4) or [1] * len(starts)
    cuts: list[range | int] = [range(n) for n in call.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cuts[axis] = range(call.shape[axis])[start:end:step]
    return call.builder.slice(call.name, call.x, cuts)


def _split(call: Call) -> tuple[Node, ...]:
    axis = int(call.attributes.get("axis", 0))
    n = call.shape[axis]
    sizes = call.numbers(1, "split")
    if sizes is None:
        part = -(-n // call.outputs)
        sizes = [min(part, n - a) for a in range(0, n, part)]
    made = []
    at = 0
    for size in sizes:
        cuts: list[range | int] = [range(m) for m in call.shape]
        cuts[axis] = range(at, at + size)
        made.append(call.builder.slice(call.name, call.x, cuts))
        at += size
    return tuple(made)


def _gather(call: Call) -> Node:
    axis = int(call.attributes.get("axis", 0))
    indices = call.args[1]
    if isinstance(call.args[0], Weight) and axis == 0 and isinstance(indices, Node):
        link = tuple((a, None) for a in range(len(shape_of(indices))))
        shape = (*shape_of(indices), *call.args[0].shape[1:])
        return call.builder.add(
            call.name, "embedding", (indices,), shape, (link,), weights=[call.args[0]],
            dtype="float32",
        )  # fmt: skip
    numbers = call.numbers(1) or []
    if shape_of(indices) != ():
        raise InputError("Gather is followed with one index", f"{numbers}", "-")
    cuts: list[range | int] = [range(n) for n in call.shape]
    cuts[axis] = int(numbers[0]) % call.shape[axis]
    return call.builder.slice(call.name, call.x, cuts)


ORDER: Mapping[str, Rule] = {
    "Concat": _concat,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
}
"""The operators that move cells or cut them out."""
