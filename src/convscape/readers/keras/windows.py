"""Rules for Keras's convolutions, pooling, padding and resizing.

Source: the layers' documentation at keras.io; padding of transposed convolutions as in
keras/src/backend/common/backend_utils.py of Keras 3.
"""

from collections.abc import Mapping, Sequence

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import per_axis
from convscape.arithmetic.network import Node
from convscape.arithmetic.padding import resolve
from convscape.arithmetic.window import Window
from convscape.readers.keras.call import Call, Rule, by_rank, settings_of


def _windows(call: Call, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[Window, ...]:
    padding = call.config.get("padding", "valid")
    strides = call.per_axis("strides")
    axes = zip(call.spatial, kernel, strides, dilation, strict=True)
    return tuple(resolve(padding, n, k, s, d) for n, k, s, d in axes)


def _conv(call: Call) -> Node:
    kernel, dilation = call.per_axis("kernel_size"), call.per_axis("dilation_rate")
    filters, groups = call.config["filters"], call.config.get("groups", 1)
    if call.channels % groups:
        raise InputError(
            "groups must divide the input's channels", f"{groups} and {call.channels}",
            "check the input shape",
        )  # fmt: skip
    weights = [call.weight("kernel", *kernel, call.channels // groups, filters)]
    if call.config.get("use_bias", True):
        weights.append(call.weight("bias", filters))
    return call.builder.conv(
        call.name, call.x, _windows(call, kernel, dilation), axes=call.axes,
        channel_axis=call.channel_axis, out_channels=filters, groups=groups, weights=weights,
        settings=settings_of(call), dtype=call.dtype,
    )  # fmt: skip


def _depthwise(call: Call, suffix: str = "") -> Node:
    kernel, dilation = call.per_axis("kernel_size"), call.per_axis("dilation_rate")
    multiplier = call.config.get("depth_multiplier", 1)
    weights = [call.weight("depthwise_kernel", *kernel, call.channels, multiplier)]
    if call.config.get("use_bias", True) and not suffix:
        weights.append(call.weight("bias", call.channels * multiplier))
    settings = settings_of(call)
    settings["bias"] = len(weights) > 1
    return call.builder.conv(
        call.name + suffix, call.x, _windows(call, kernel, dilation), axes=call.axes,
        channel_axis=call.channel_axis, out_channels=call.channels * multiplier,
        groups=call.channels, weights=weights, settings=settings, dtype=call.dtype,
    )  # fmt: skip


def _separable(call: Call) -> Node:
    first = _depthwise(call, "/depthwise")
    filters, middle = call.config["filters"], call.channels * call.config.get("depth_multiplier", 1)
    weights = [call.weight("pointwise_kernel", middle, filters)]
    if call.config.get("use_bias", True):
        weights.append(call.weight("bias", filters))
    return call.builder.conv(
        call.name, first, (Window(1),) * len(call.axes), axes=call.axes,
        channel_axis=call.channel_axis, out_channels=filters, weights=weights,
        settings={**settings_of(call), "padding": "valid"}, dtype=call.dtype,
    )  # fmt: skip


def _conv_transpose(call: Call) -> Node:
    kernel, dilation = call.per_axis("kernel_size"), call.per_axis("dilation_rate")
    strides = call.per_axis("strides")
    extra = call.config.get("output_padding")
    extras = (
        (None,) * len(kernel) if extra is None else per_axis("output_padding", extra, len(kernel))
    )
    filters = call.config["filters"]
    padding = str(call.config.get("padding", "valid"))
    windows = tuple(
        transposed(k, s, d, padding, op)
        for k, s, d, op in zip(kernel, strides, dilation, extras, strict=True)
    )
    weights = [call.weight("kernel", *kernel, filters, call.channels)]
    if call.config.get("use_bias", True):
        weights.append(call.weight("bias", filters))
    return call.builder.conv(
        call.name, call.x, windows, axes=call.axes, channel_axis=call.channel_axis,
        out_channels=filters, transposed=True, weights=weights, settings=settings_of(call),
        dtype=call.dtype,
    )  # fmt: skip


def transposed(
    kernel: int, stride: int, dilation: int, padding: str, output_padding: int | None
) -> Window:
    """The window of one axis of a Keras transposed convolution.

    `same` without output_padding gives n stride cells; with it (n - 1) stride + extent mod 2 +
    output_padding. `valid` gives (n - 1) stride + max(extent, stride), or + extent +
    output_padding. The odd cell of `same` is kept at the low end.

    Example:
        >>> transposed(3, 2, 1, "same", None).output(5)
        10
    """
    extent = dilation * (kernel - 1) + 1
    if padding == "same":
        if output_padding is None:
            total = stride + extent - 2
        else:
            total = extent + extent % 2 - 2 + output_padding
        low = min(total // 2 + total % 2, extent - 1)
    elif padding == "valid":
        extra = max(stride - extent, 0) if output_padding is None else output_padding
        low, total = extent - 1, 2 * (extent - 1) + extra
    else:
        raise InputError(
            "a Keras transposed convolution pads valid or same", padding, "use one of them"
        )
    return Window(kernel, 1, dilation, stride, (low, total - low))


def _pool(op: str) -> Rule:
    def rule(call: Call) -> Node:
        size = call.per_axis("pool_size")
        strides = call.config.get("strides")
        steps = size if strides is None else per_axis("strides", strides, len(size))
        padding = call.config.get("padding", "valid")
        windows = tuple(
            resolve(padding, n, k, s) for n, k, s in zip(call.spatial, size, steps, strict=True)
        )
        settings = {"dialect": "keras", "padding": padding}
        return call.builder.pool(call.name, op, call.x, windows, axes=call.axes, settings=settings)

    return rule


def _global_pool(op: str) -> Rule:
    def rule(call: Call) -> Node:
        keep = bool(call.config.get("keepdims"))
        return call.builder.reduce(call.name, op, call.x, call.axes, keep)

    return rule


def _adaptive(op: str) -> Rule:
    def rule(call: Call) -> Node:
        sizes = call.per_axis("output_size")
        return call.builder.adaptive_pool(call.name, op, call.x, sizes, axes=call.axes)

    return rule


def _pad(sign: int, key: str) -> Rule:
    def rule(call: Call) -> Node:
        value = call.config[key]
        rank = len(call.axes)
        if isinstance(value, int):
            value = [value] * rank
        elif rank == 1 and len(value) == 2 and all(isinstance(v, int) for v in value):
            value = [tuple(value)]
        pairs = [(0, 0)] * len(call.shape)
        for axis, v in zip(call.axes, value, strict=True):
            low, high = (v, v) if isinstance(v, int) else v
            pairs[axis] = (sign * low, sign * high)
        return call.builder.pad(call.name, call.x, pairs)

    return rule


def _upsample(call: Call) -> Node:
    size = call.per_axis("size")
    mode = _mode(call.config.get("interpolation", "nearest"))
    sizes = [n * s for n, s in zip(call.spatial, size, strict=True)]
    return call.builder.resize(call.name, call.x, sizes, axes=call.axes, mode=mode, half_pixel=True)


def _resizing(call: Call) -> Node:
    if call.config.get("crop_to_aspect_ratio") or call.config.get("pad_to_aspect_ratio"):
        raise InputError(
            "Resizing is followed without cropping", "an aspect ratio kept", "see there"
        )
    sizes = (call.config["height"], call.config["width"])
    mode = _mode(call.config.get("interpolation", "bilinear"))
    return call.builder.resize(call.name, call.x, sizes, axes=call.axes, mode=mode, half_pixel=True)


def _mode(name: str) -> str:
    modes = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}
    if name not in modes:
        raise InputError(
            "an interpolation must be one that is followed", name, f"known: {', '.join(modes)}"
        )
    return modes[name]


WINDOWS: Mapping[str, Rule] = {
    **by_rank("Conv", _conv),
    **by_rank("DepthwiseConv", _depthwise),
    **by_rank("SeparableConv", _separable),
    **{f"Conv{rank}DTranspose": _conv_transpose for rank in (1, 2, 3)},
    **by_rank("MaxPooling", _pool("max_pool")),
    **by_rank("AveragePooling", _pool("avg_pool")),
    **by_rank("GlobalMaxPooling", _global_pool("global_max_pool")),
    **by_rank("GlobalAveragePooling", _global_pool("global_avg_pool")),
    **by_rank("AdaptiveMaxPooling", _adaptive("max_pool")),
    **by_rank("AdaptiveAveragePooling", _adaptive("avg_pool")),
    **by_rank("ZeroPadding", _pad(1, "padding")),
    **by_rank("Cropping", _pad(-1, "cropping")),
    **by_rank("UpSampling", _upsample),
    "Resizing": _resizing,
}
"""The layers that slide windows."""
