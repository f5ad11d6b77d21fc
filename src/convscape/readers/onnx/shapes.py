"""Arithmetic on shapes, which exporters leave in the graph, worked out on known numbers."""

from collections.abc import Callable, Mapping
from typing import Any

from convscape.arithmetic.network import Weight
from convscape.readers.onnx.call import Call, Numbers, Rule

MAX_RANK = 1024
"""Most numbers that are put together for a shape."""


def _known(call: Call) -> list[Numbers] | None:
    found = [a for a in call.args if isinstance(a, Numbers)]
    return found if found and len(found) == sum(a is not None for a in call.args) else None


def _shape(call: Call) -> Numbers | None:
    if getattr(call.args[0], "shape", None) is None:
        return None
    start, end = call.attributes.get("start", 0), call.attributes.get("end")
    dims = list(call.shape)[start:end]
    return Numbers(call.name, (len(dims),), dims)


def _fold_gather(call: Call) -> Numbers | None:
    known = _known(call)
    if known is None or call.attributes.get("axis", 0):
        return None
    data, index = known
    return Numbers(call.name, index.shape, [data.values[int(i)] for i in index.values], data.dtype)


def _fold_concat(call: Call) -> Numbers | None:
    known = _known(call)
    if known is None:
        return None
    values = [v for k in known for v in k.values]
    if len(values) > MAX_RANK:
        return None  # no shape is so long
    return Numbers(call.name, (len(values),), values, known[0].dtype)


def _fold_rank(shape: tuple[int, ...] | None) -> Rule:
    def rule(call: Call) -> Numbers | None:
        if not isinstance(call.args[0], Numbers):
            return None
        values = call.args[0].values
        if shape == () and len(values) != 1:
            return None
        return Numbers(call.name, (len(values),) if shape is None else shape, values,
                       call.args[0].dtype)  # fmt: skip

    return rule


def _fold_same(call: Call) -> Numbers | None:
    return call.args[0] if isinstance(call.args[0], Numbers) else None


def _fold_identity(call: Call) -> Any:
    return call.args[0] if isinstance(call.args[0], (Numbers, Weight)) else None


def _fold_slice(call: Call) -> Numbers | None:
    known = _known(call)
    if known is None or len(known) < 3:
        return None
    step = known[4].values[0] if len(known) > 4 else 1
    values = known[0].values[known[1].values[0] : known[2].values[0] : step]
    return Numbers(call.name, (len(values),), values, known[0].dtype)


def _fold(function: Callable[[Any, Any], Any]) -> Rule:
    def rule(call: Call) -> Numbers | None:
        known = _known(call)
        if known is None or any(k.dtype not in ("int64", "int32") for k in known):
            return None
        a, b = known
        count = max(len(a.values), len(b.values))
        if len(a.values) not in (1, count) or len(b.values) not in (1, count):
            return None
        pairs = zip(a.values * (count // len(a.values)), b.values * (count // len(b.values)),
                    strict=True)  # fmt: skip
        shape = a.shape if len(a.shape) >= len(b.shape) else b.shape
        return Numbers(call.name, shape and (count,), [function(x, y) for x, y in pairs])

    return rule


def _fill(call: Call) -> Numbers | None:
    if not isinstance(call.args[0], Numbers) or len(call.args[0].values) != 1:
        return None
    count = int(call.args[0].values[0])
    if "value" in call.attributes or count > 64:
        return None
    return Numbers(call.name, (count,), [0] * count, "float32")


SHAPES: Mapping[str, Rule] = {
    "Shape": _shape,
    "Gather": _fold_gather,
    "Concat": _fold_concat,
    "Unsqueeze": _fold_rank(None),
    "Squeeze": _fold_rank(()),
    "Reshape": _fold_rank(None),
    "Cast": _fold_same,
    "Identity": _fold_identity,
    "Slice": _fold_slice,
    "Add": _fold(lambda a, b: a + b),
    "Sub": _fold(lambda a, b: a - b),
    "Mul": _fold(lambda a, b: a * b),
    "Div": _fold(lambda a, b: abs(a) // abs(b) * (1 if a * b >= 0 else -1) if b else 0),
    "ConstantOfShape": _fill,
}
"""Operators that are worked out when their inputs are known numbers; None leaves them alone."""
