"""Rules for ONNX's convolutions, pooling, padding and resizing.

Source: the operator documentation at onnx.ai (opset 22). Where runtimes and the text differ for
pooling with ceil_mode, the last window must start inside the input, as runtimes have it.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node
from convscape.arithmetic.padding import ceiled, resolve
from convscape.arithmetic.window import Window
from convscape.readers.onnx.call import Call, Rule, shape_of, text_of


def _windows(call: Call, kernel: Sequence[int]) -> tuple[list[Window], dict[str, object]]:
    rank = len(kernel)
    strides = call.attributes.get("strides") or [1] * rank
    dilations = call.attributes.get("dilations") or [1] * rank
    pads = call.attributes.get("pads")
    auto = text_of(call.attributes.get("auto_pad", b"NOTSET"))
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
    auto, target = text_of(get("auto_pad", b"NOTSET")), get("output_shape")
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


def _pad(call: Call) -> Node:
    pads = call.numbers(1, "pads") or []
    axes = call.numbers(3) if call.given(3) else list(range(len(call.shape)))
    pairs = [(0, 0)] * len(call.shape)
    for i, axis in enumerate(axes or []):
        pairs[axis] = (int(pads[i]), int(pads[i + len(pads) // 2]))
    mode = text_of(call.attributes.get("mode", b"constant"))
    return call.builder.pad(call.name, call.x, pairs, settings={"padding_mode": mode})


def _resize(call: Call) -> Node:
    mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}.get(
        text_of(call.attributes.get("mode", b"nearest"))
    )
    place = text_of(call.attributes.get("coordinate_transformation_mode", b"half_pixel"))
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


WINDOWS: Mapping[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("avg_pool"),
    "LpPool": _pool("lp_pool"),
    "GlobalAveragePool": _global_pool("global_avg_pool"),
    "GlobalMaxPool": _global_pool("global_max_pool"),
    "Pad": _pad,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "DepthToSpace": _depth_to_space,
}
"""The operators that slide windows."""
