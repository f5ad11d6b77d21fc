"""What each ONNX operator does to a tensor: one small rule each, in a literal table.

Source: the operator documentation at onnx.ai (opset 22). Where runtimes and the text differ for
pooling with ceil_mode, the last window must start inside the input, as runtimes have it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node, Weight
from convscape.arithmetic.padding import ceiled, resolve
from convscape.arithmetic.window import Window


@dataclass(frozen=True, slots=True)
class Numbers:
    """A small constant whose numbers are known: shapes, axes, pads, scales.

    Args:
        name: Its name in the graph.
        shape: Its shape, () or (n,).
        values: The numbers.
        dtype: Their type.
        stored: Whether it is one of the file's initializers, which may be parameters.
    """

    name: str
    shape: tuple[int, ...]
    values: list[Any]
    dtype: str = "int64"
    stored: bool = False

    @property
    def weight(self) -> Weight:
        """The same as a weight; a single number, or one in the graph itself, is a setting."""
        parameter = self.stored and self.shape != () and self.dtype.startswith("float")
        return Weight(self.name, self.shape, parameter, not parameter, self.dtype)


@dataclass(slots=True)
class Call:
    """One operator.

    Args:
        builder: Where the node goes.
        name: Its name.
        attributes: Its attributes.
        args: Its inputs: nodes, weights, numbers, or None where left out.
        opset: The version of the operators.
        outputs: How many outputs it has.
    """

    builder: Builder
    name: str
    attributes: Mapping[str, Any]
    args: list[Any]
    opset: int
    outputs: int

    @property
    def x(self) -> Node:
        """Its first input, as a node."""
        return self.node(self.args[0])

    def node(self, value: Any) -> Node:
        """A node; a weight that is computed with becomes a constant."""
        if isinstance(value, Node):
            return value
        if isinstance(value, Numbers):
            value = value.weight
        if isinstance(value, Weight):
            return self.builder.constant(value.key, value.shape, [value], value.dtype)
        raise InputError("the operator needs a tensor", f"{value}", "export the file again")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its first input."""
        return shape_of(self.args[0])

    def weight(self, at: int, buffer: bool = False) -> list[Weight]:
        """The weight among its inputs at a place, if there is one."""
        value = self.args[at] if at < len(self.args) else None
        if isinstance(value, Numbers):
            value = value.weight
        if not isinstance(value, Weight):
            return []
        return [Weight(value.key, value.shape, not buffer, buffer or value.buffer, value.dtype)]

    def given(self, at: int) -> bool:
        """Whether an input at a place is there."""
        return at < len(self.args) and self.args[at] is not None

    def numbers(self, at: int, key: str = "") -> list[Any] | None:
        """Numbers given as an input, or in older versions as an attribute; None if not given."""
        if self.given(at):
            value = self.args[at]
            if not isinstance(value, Numbers):
                raise InputError(
                    f"{key or 'an input'} must be a constant to be followed",
                    "a computed tensor", "export with fixed sizes",
                )  # fmt: skip
            return value.values
        found = self.attributes.get(key)
        return None if found is None else list(found) if isinstance(found, Sequence) else [found]


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of a node, weight or constant."""
    shape = getattr(value, "shape", None)
    if shape is None:
        raise InputError("the input's shape must be known", f"{value}", "see there")
    return tuple(shape)


Rule = Callable[[Call], Any]

MAX_RANK = 1024
"""Most numbers that are put together for a shape."""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _windows(call: Call, kernel: Sequence[int]) -> tuple[list[Window], dict[str, object]]:
    rank = len(kernel)
    strides = call.attributes.get("strides") or [1] * rank
    dilations = call.attributes.get("dilations") or [1] * rank
    pads = call.attributes.get("pads")
    auto = _text(call.attributes.get("auto_pad", b"NOTSET"))
    if auto != "NOTSET" and pads and any(pads):
        raise InputError(
            "an operator has pads or auto_pad, not both", f"pads={list(pads)}, auto_pad={auto}",
            "drop one; runtimes disagree on which holds",
        )  # fmt: skip
    names = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
    if auto != "NOTSET" and auto not in names:
        raise InputError("auto_pad must be a known one", auto, f"known: {', '.join(names)}")
    made = []
    for a, (n, k, s, d) in enumerate(zip(call.shape[2:], kernel, strides, dilations, strict=True)):
        if auto == "NOTSET":
            low, high = (pads[a], pads[a + rank]) if pads else (0, 0)
            made.append(Window(k, s, d, 1, (low, high)))
        else:
            made.append(resolve(names[auto], n, k, s, d))
    return made, {"dialect": "onnx", "padding": auto if auto != "NOTSET" else list(pads or [])}


def _conv(call: Call) -> Node:
    wanted = shape_of(call.args[1])
    windows, settings = _windows(call, wanted[2:])
    settings["bias"] = call.given(2)
    return call.builder.conv(
        call.name, call.x, windows, axes=range(2, len(wanted)), channel_axis=1,
        out_channels=wanted[0], groups=int(call.attributes.get("group", 1)), weight_shape=wanted,
        weights=[*call.weight(1), *call.weight(2)], settings=settings,
    )  # fmt: skip


def _conv_transpose(call: Call) -> Node:
    """Sizes: (n - 1) stride + output_padding + extent - pads; or what output_shape says."""
    wanted = shape_of(call.args[1])
    rank = len(wanted) - 2
    groups = int(call.attributes.get("group", 1))
    get = call.attributes.get
    strides, dilations = get("strides") or [1] * rank, get("dilations") or [1] * rank
    extra, pads = get("output_padding") or [0] * rank, get("pads") or [0] * (2 * rank)
    auto, target = _text(get("auto_pad", b"NOTSET")), get("output_shape")
    windows = []
    for a, (n, k, s, d, op) in enumerate(
        zip(call.shape[2:], wanted[2:], strides, dilations, extra, strict=True)
    ):
        edge = d * (k - 1)
        begin, end = pads[a], pads[a + rank]
        if target or auto in ("SAME_UPPER", "SAME_LOWER"):
            out = target[a - rank] if target else n * s
            total = s * (n - 1) + op + edge + 1 - out
            half = abs(total) // 2 * (1 if total >= 0 else -1)  # truncated, as in C
            begin, end = (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
        windows.append(Window(k, 1, d, s, (edge - begin, edge - end + op)))
    settings = {"dialect": "onnx", "padding": auto, "bias": call.given(2)}
    return call.builder.conv(
        call.name, call.x, windows, axes=range(2, rank + 2), channel_axis=1,
        out_channels=wanted[1] * groups, groups=groups, weight_shape=wanted, transposed=True,
        weights=[*call.weight(1), *call.weight(2)], settings=settings,
    )  # fmt: skip


def _pool(op: str) -> Rule:
    def rule(call: Call) -> Node:
        windows, settings = _windows(call, call.attributes["kernel_shape"])
        if call.attributes.get("ceil_mode"):
            windows = [ceiled(w, n) for w, n in zip(windows, call.shape[2:], strict=True)]
        axes = range(2, len(call.shape))
        return call.builder.pool(call.name, op, call.x, windows, axes=axes, settings=settings)

    return rule


def _global_pool(op: str) -> Rule:
    def rule(call: Call) -> Node:
        return call.builder.reduce(call.name, op, call.x, range(2, len(call.shape)), keepdims=True)

    return rule


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


def _pad(call: Call) -> Node:
    pads = call.numbers(1, "pads") or []
    axes = call.numbers(3) if call.given(3) else list(range(len(call.shape)))
    pairs = [(0, 0)] * len(call.shape)
    for i, axis in enumerate(axes or []):
        pairs[axis] = (int(pads[i]), int(pads[i + len(pads) // 2]))
    mode = _text(call.attributes.get("mode", b"constant"))
    return call.builder.pad(call.name, call.x, pairs, settings={"padding_mode": mode})


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


def _resize(call: Call) -> Node:
    mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}.get(
        _text(call.attributes.get("mode", b"nearest"))
    )
    place = _text(call.attributes.get("coordinate_transformation_mode", b"half_pixel"))
    if mode is None or place not in (
        "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"
    ):  # fmt: skip
        raise InputError("a resize must be one that is followed", f"{mode}, {place}", "-")
    if place == "asymmetric" and mode != "nearest":
        raise InputError("an asymmetric resize is followed for nearest", f"{mode}", "-")
    old = len(call.args) == 2  # Upsample, and Resize before version 11
    sizes = None if old else call.numbers(3) if call.given(3) else None
    if sizes is None:
        scales = call.numbers(1 if old else 2, "scales") or []
        exact = [Fraction(s) * n for s, n in zip(scales, call.shape, strict=True)]
        if any(e.denominator > 1 for e in exact):
            raise InputError(
                "scales must give whole numbers of cells to be followed", f"{scales}", "give sizes"
            )
        sizes = [int(e) for e in exact]
    axes = [a for a, n in enumerate(call.shape) if sizes[a] != n]
    return call.builder.resize(
        call.name, call.x, [sizes[a] for a in axes], axes=axes, mode=mode,
        half_pixel=place.endswith("half_pixel"), align_corners=place == "align_corners",
    )  # fmt: skip


def _depth_to_space(call: Call) -> Node:
    r = int(call.attributes["blocksize"])
    n, channels, *spatial = call.shape
    window = Window(r, input_dilation=r, padding=(r - 1, r - 1))
    link = ((0, None), None, *((a, window) for a in range(2, 2 + len(spatial))))
    out = (n, channels // r**2, *(s * r for s in spatial))
    return call.builder.add(call.name, "pixel_shuffle", (call.x,), out, (link,))


def _each(names: str, rule: Callable[[str], Rule]) -> dict[str, Rule]:
    return {name: rule(name.lower()) for name in names.split()}


OPERATORS: Mapping[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("avg_pool"),
    "LpPool": _pool("lp_pool"),
    "GlobalAveragePool": _global_pool("global_avg_pool"),
    "GlobalMaxPool": _global_pool("global_max_pool"),
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
    "Concat": _concat,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "ReduceMean": _reduction("mean"),
    "ReduceSum": _reduction("sum"),
    "ReduceMax": _reduction("amax"),
    "ReduceMin": _reduction("amin"),
    "ReduceL2": _reduction("norm"),
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "DepthToSpace": _depth_to_space,
}
"""A rule for each operator; one that is not here is unknown."""


# -- arithmetic on shapes, which exporters leave in the graph --------------------------------


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
