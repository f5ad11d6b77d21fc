"""Rules for Keras's dense layers, normalization, activations, merges and reductions."""

from collections.abc import Mapping

from convscape.arithmetic.network import Node
from convscape.readers.keras.call import Call, Rule, settings_of, under_names, word_for


def _dense(call: Call) -> Node:
    units = call.config["units"]
    weights = [call.weight("kernel", call.shape[-1], units)]
    if call.config.get("use_bias", True):
        weights.append(call.weight("bias", units))
    return call.builder.dense(
        call.name, call.x, units, weights=weights, settings=settings_of(call), dtype=call.dtype
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
    op = word_for(call.config.get("activation"))
    if op in ("softmax", "log_softmax"):
        return call.builder.mix(call.name, op, call.x, [-1])
    return call.builder.pointwise(call.name, op, [call.x], view=op == "identity")


def _softmax(call: Call) -> Node:
    axis = call.config.get("axis", -1)
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    return call.builder.mix(call.name, "softmax", call.x, axes)


def _reduction(op: str) -> Rule:
    def rule(call: Call) -> Node:
        axis = call.config.get("axis")
        axes = range(len(call.shape)) if axis is None else [axis] if isinstance(axis, int) else axis
        return call.builder.reduce(call.name, op, call.x, axes, bool(call.config.get("keepdims")))

    return rule


def _matmul(call: Call) -> Node:
    return call.builder.matmul(call.name, call.inputs[0], call.inputs[1])


CELLS: Mapping[str, Rule] = {
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
    "Matmul": _matmul,
    **under_names(
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout "
        "GaussianDropout StochasticDepth",
        _dropout,
    ),
    # Augmentation passes its input on in inference.
    **under_names(
        "Identity ActivityRegularization GaussianNoise RandomFlip RandomRotation RandomZoom "
        "RandomTranslation RandomContrast RandomBrightness StopGradient",
        _cellwise("identity", view=True),
    ),
    **under_names("ReLU Relu", _cellwise("relu")),
    "Relu6": _cellwise("relu6"),
    **under_names("LeakyReLU LeakyRelu", _cellwise("leaky_relu")),
    **under_names("ELU Elu", _cellwise("elu")),
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
    **under_names("Divide TrueDivide", _cellwise("div")),
    "Average": _cellwise("average"),
    "Maximum": _cellwise("max"),
    "Minimum": _cellwise("min"),
    **under_names("Negative Absolute Abs", _cellwise("abs")),
    "Exp": _cellwise("exp"),
    "Sqrt": _cellwise("sqrt"),
    **under_names("Square Power", _cellwise("pow")),
    "Clip": _cellwise("clamp"),
    "Cast": _cellwise("cast"),
    "Mean": _reduction("mean"),
    "Sum": _reduction("sum"),
    "Max": _reduction("amax"),
    "Min": _reduction("amin"),
}
"""The layers that work cell by cell, multiply matrices, normalize or reduce axes."""
