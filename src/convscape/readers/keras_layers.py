"""What each Keras layer and operation does to a tensor: one small rule each, in a literal table.

The sizes and weights follow from a layer's configuration alone; Keras itself is not needed.
Source: the layers' documentation at keras.io; padding of transposed convolutions as in
keras/src/backend/common/backend_utils.py of Keras 3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import per_axis
from convscape.arithmetic.network import Node, Weight
from convscape.arithmetic.padding import resolve
from convscape.arithmetic.window import Window


@dataclass(slots=True)
class Call:
    """One call of a layer: what a rule may look at.

    Args:
        builder: Where the node goes.
        name: The layer, with the models it is nested in.
        kind: Its class.
        config: Its configuration.
        inputs: Its input tensors.
        args: Its positional arguments, constants included.
        kwargs: Its keyword arguments.
    """

    builder: Builder
    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: list[Node]
    args: Any
    kwargs: Mapping[str, Any]
    made: list[Weight] = field(default_factory=list)

    @property
    def x(self) -> Node:
        """Its first input."""
        return self.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its first input."""
        assert self.x.shape is not None  # Builder.attempt does not call rules without it
        return self.x.shape

    @property
    def last(self) -> bool:
        """Whether channels are the last axis."""
        return self.config.get("data_format") != "channels_first"

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return len(self.shape) - 1 if self.last else 1

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes."""
        rank = len(self.shape)
        return tuple(range(1, rank - 1)) if self.last else tuple(range(2, rank))

    @property
    def spatial(self) -> tuple[int, ...]:
        """Cells of the spatial axes."""
        return tuple(self.shape[a] for a in self.axes)

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return self.shape[self.channel_axis]

    @property
    def dtype(self) -> str:
        """Type of the numbers it computes."""
        policy = self.config.get("dtype")
        if isinstance(policy, Mapping):
            policy = policy.get("config", {}).get("name")
        return str(policy or self.x.dtype).removeprefix("mixed_")

    def weight(self, name: str, *shape: int, trainable: bool = True) -> Weight:
        """A weight of the layer; frozen with it."""
        frozen = self.config.get("trainable") is False
        weight = Weight(f"{self.name}/{name}", shape, trainable and not frozen)
        self.made.append(weight)
        return weight

    def stored(self) -> list[Weight]:
        """The weights that its rule has named so far."""
        return self.made

    def per_axis(self, key: str) -> tuple[int, ...]:
        """A setting as one value a spatial axis."""
        value = self.config.get(key)
        return per_axis(key, 1 if value is None else value, len(self.axes))


Rule = Callable[[Call], Node]


def _windows(call: Call, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[Window, ...]:
    padding = call.config.get("padding", "valid")
    strides = call.per_axis("strides")
    axes = zip(call.spatial, kernel, strides, dilation, strict=True)
    return tuple(resolve(padding, n, k, s, d) for n, k, s, d in axes)


def _settings(call: Call) -> dict[str, object]:
    return {
        "dialect": "keras",
        "padding": call.config.get("padding", "valid"),
        "bias": bool(call.config.get("use_bias", False)),
        "activation": _word(call.config.get("activation")),
    }


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
        settings=_settings(call), dtype=call.dtype,
    )  # fmt: skip


def _depthwise(call: Call, suffix: str = "") -> Node:
    kernel, dilation = call.per_axis("kernel_size"), call.per_axis("dilation_rate")
    multiplier = call.config.get("depth_multiplier", 1)
    weights = [call.weight("depthwise_kernel", *kernel, call.channels, multiplier)]
    if call.config.get("use_bias", True) and not suffix:
        weights.append(call.weight("bias", call.channels * multiplier))
    settings = _settings(call)
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
        settings={**_settings(call), "padding": "valid"}, dtype=call.dtype,
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
        out_channels=filters, transposed=True, weights=weights, settings=_settings(call),
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


def _dense(call: Call) -> Node:
    units = call.config["units"]
    weights = [call.weight("kernel", call.shape[-1], units)]
    if call.config.get("use_bias", True):
        weights.append(call.weight("bias", units))
    return call.builder.dense(
        call.name, call.x, units, weights=weights, settings=_settings(call), dtype=call.dtype
    )


def _embedding(call: Call) -> Node:
    width = call.config["output_dim"]
    weight = call.weight("embeddings", call.config["input_dim"], width)
    link = tuple((a, None) for a in range(len(call.shape)))
    return call.builder.add(
        call.name, "embedding", (call.x,), (*call.shape, width), (link,), weights=[weight],
        dtype=call.dtype,
    )  # fmt: skip


def _batch_norm(call: Call) -> Node:
    axis = call.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, (list, tuple)) else axis
    channels = call.shape[axis]
    weights = [call.weight("gamma", channels)] if call.config.get("scale", True) else []
    if call.config.get("center", True):
        weights.append(call.weight("beta", channels))
    weights += [call.weight(n, channels, trainable=False)
                for n in ("moving_mean", "moving_variance")]  # fmt: skip
    settings = {
        "dialect": "keras",
        "axis": axis % len(call.shape),
        "momentum": call.config.get("momentum", 0.99),
        "epsilon": call.config.get("epsilon", 1e-3),
    }
    return call.builder.pointwise(
        call.name, "batch_norm", [call.x], weights=weights, settings=settings
    )


def _layer_norm(call: Call) -> Node:
    axis = call.config.get("axis", -1)
    axes = [a % len(call.shape) for a in (axis if isinstance(axis, (list, tuple)) else [axis])]
    shape = [call.shape[a] for a in axes]
    weights = [call.weight("gamma", *shape)] if call.config.get("scale", True) else []
    if call.config.get("center", True) and not call.config.get("rms_scaling"):
        weights.append(call.weight("beta", *shape))
    return call.builder.mix(call.name, "layer_norm", call.x, axes, weights=weights)


def _group_norm(call: Call) -> Node:
    axis = call.config.get("axis", -1)
    weights = [call.weight("gamma", call.shape[axis])] if call.config.get("scale", True) else []
    if call.config.get("center", True):
        weights.append(call.weight("beta", call.shape[axis]))
    axes = range(1, len(call.shape))
    return call.builder.mix(call.name, "group_norm", call.x, axes, weights=weights)


def _normalization(call: Call) -> Node:
    axis = call.config.get("axis", -1)
    axes = [] if axis is None else list(axis) if isinstance(axis, (list, tuple)) else [axis]
    weights = []
    if call.config.get("mean") is None:  # adapted: it stores what it has seen
        shape = [call.shape[a] for a in axes]
        weights = [call.weight("mean", *shape, trainable=False),
                   call.weight("variance", *shape, trainable=False),
                   call.weight("count", trainable=False)]  # fmt: skip
    return call.builder.pointwise(call.name, "normalization", [call.x], weights=weights)


def _prelu(call: Call) -> Node:
    shape = list(call.shape[1:])
    for axis in call.config.get("shared_axes") or ():
        shape[axis - 1] = 1
    weight = call.weight("alpha", *shape)
    return call.builder.pointwise(call.name, "prelu", [call.x], weights=[weight])


def _layer_scale(call: Call) -> Node:
    weight = call.weight("gamma", call.config["projection_dim"])
    return call.builder.pointwise(call.name, "mul", [call.x], weights=[weight])


def _cellwise(op: str, view: bool = False) -> Rule:
    """An operation on every cell by itself; several inputs meet by broadcasting."""

    def rule(call: Call) -> Node:
        return call.builder.pointwise(call.name, op, call.inputs, view=view)

    return rule


def _dropout(call: Call) -> Node:
    rate = call.config.get("rate", call.config.get("drop_path_rate", 0))
    # Stochastic depth drops a branch of a whole sample, not cells of a map.
    whole = call.kind == "StochasticDepth" or call.config.get("noise_shape") is not None
    shape = "samples" if whole else "channels" if call.kind.startswith("Spatial") else "cells"
    settings = {"rate": rate, "drops": shape}
    return call.builder.pointwise(call.name, "dropout", [call.x], view=True, settings=settings)


def _activation(call: Call) -> Node:
    op = _word(call.config.get("activation"))
    if op in ("softmax", "log_softmax"):
        return call.builder.mix(call.name, op, call.x, [-1])
    return call.builder.pointwise(call.name, op, [call.x], view=op == "identity")


def _word(activation: Any) -> str:
    """Our word for an activation given by name or as a serialized object."""
    if isinstance(activation, Mapping):
        activation = activation.get("config", activation.get("class_name"))
        if isinstance(activation, Mapping):
            activation = activation.get("name")
    words = {
        None: "identity", "linear": "identity", "swish": "silu", "hard_sigmoid": "hardsigmoid",
        "hard_swish": "hardswish", "hard_silu": "hardswish",
    }  # fmt: skip
    return str(words.get(activation, activation))


def _softmax(call: Call) -> Node:
    axis = call.config.get("axis", -1)
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    return call.builder.mix(call.name, "softmax", call.x, axes)


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


def _reduction(op: str) -> Rule:
    def rule(call: Call) -> Node:
        axis = call.config.get("axis")
        axes = range(len(call.shape)) if axis is None else [axis] if isinstance(axis, int) else axis
        return call.builder.reduce(call.name, op, call.x, axes, bool(call.config.get("keepdims")))

    return rule


def _expand_dims(call: Call) -> Node:
    axis = call.config.get("axis", 0)
    axis = axis[0] if isinstance(axis, (list, tuple)) else axis
    shape = list(call.shape)
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, 1)
    return call.builder.reshape(call.name, call.x, shape)


def _matmul(call: Call) -> Node:
    return call.builder.matmul(call.name, call.inputs[0], call.inputs[1])


def _each(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


def _ranks(name: str, rule: Rule) -> dict[str, Rule]:
    return {f"{name}{rank}D": rule for rank in (1, 2, 3)}


LAYERS: Mapping[str, Rule] = {
    **_ranks("Conv", _conv),
    **_ranks("DepthwiseConv", _depthwise),
    **_ranks("SeparableConv", _separable),
    **{f"Conv{rank}DTranspose": _conv_transpose for rank in (1, 2, 3)},
    **_ranks("MaxPooling", _pool("max_pool")),
    **_ranks("AveragePooling", _pool("avg_pool")),
    **_ranks("GlobalMaxPooling", _global_pool("global_max_pool")),
    **_ranks("GlobalAveragePooling", _global_pool("global_avg_pool")),
    **_ranks("AdaptiveMaxPooling", _adaptive("max_pool")),
    **_ranks("AdaptiveAveragePooling", _adaptive("avg_pool")),
    **_ranks("ZeroPadding", _pad(1, "padding")),
    **_ranks("Cropping", _pad(-1, "cropping")),
    **_ranks("UpSampling", _upsample),
    "Resizing": _resizing,
    "Dense": _dense,
    "Embedding": _embedding,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "Normalization": _normalization,
    "PReLU": _prelu,
    "LayerScale": _layer_scale,
    "Activation": _activation,
    "Softmax": _softmax,
    "Concatenate": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    **_each("Permute Transpose", _permute),
    "RepeatVector": _repeat,
    "ExpandDims": _expand_dims,
    "Matmul": _matmul,
    **_each(
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout "
        "GaussianDropout StochasticDepth",
        _dropout,
    ),
    # Augmentation passes its input on in inference.
    **_each(
        "Identity ActivityRegularization GaussianNoise RandomFlip RandomRotation RandomZoom "
        "RandomTranslation RandomContrast RandomBrightness StopGradient",
        _cellwise("identity", view=True),
    ),
    **_each("ReLU Relu", _cellwise("relu")),
    "Relu6": _cellwise("relu6"),
    **_each("LeakyReLU LeakyRelu", _cellwise("leaky_relu")),
    **_each("ELU Elu", _cellwise("elu")),
    "Gelu": _cellwise("gelu"),
    "Silu": _cellwise("silu"),
    "HardSigmoid": _cellwise("hardsigmoid"),
    "HardSilu": _cellwise("hardswish"),
    "Sigmoid": _cellwise("sigmoid"),
    "Tanh": _cellwise("tanh"),
    "Softplus": _cellwise("softplus"),
    "Rescaling": _cellwise("rescaling"),
    "Add": _cellwise("add"),
    "Subtract": _cellwise("sub"),
    "Multiply": _cellwise("mul"),
    **_each("Divide TrueDivide", _cellwise("div")),
    "Average": _cellwise("average"),
    "Maximum": _cellwise("max"),
    "Minimum": _cellwise("min"),
    **_each("Negative Absolute Abs", _cellwise("abs")),
    "Exp": _cellwise("exp"),
    "Sqrt": _cellwise("sqrt"),
    **_each("Square Power", _cellwise("pow")),
    "Clip": _cellwise("clamp"),
    "Cast": _cellwise("cast"),
    "Mean": _reduction("mean"),
    "Sum": _reduction("sum"),
    "Max": _reduction("amax"),
    "Min": _reduction("amin"),
}
"""A rule for each class of layer or operation; a class that is not here is unknown."""
