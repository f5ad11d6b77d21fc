"""What each module of torch.nn does: its attributes, handed to the function it stands for."""

from collections.abc import Callable, Mapping
from typing import Any

from convscape.arithmetic.network import Node, Weight
from convscape.readers import torch_ops as ops
from convscape.readers.torch_ops import Call

Weights = Callable[[str], Weight | None]
Rule = Callable[..., Node]


def _conv(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.conv(
        c, x, w("weight"), w("bias"), m.stride, m.padding, m.dilation, m.groups, m.padding_mode
    )


def _conv_transpose(c: Call, m: Any, w: Weights, x: Any, output_size: Any = None) -> Node:
    return ops.conv_transpose(
        c, x, w("weight"), w("bias"), m.stride, m.padding, m.output_padding, m.groups, m.dilation
    )


def _batch_norm(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.batch_norm(
        c, x, w("weight"), w("bias"), w("running_mean"), w("running_var"), False, m.momentum, m.eps
    )


def _instance_norm(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.instance_norm(c, x, w("weight"), w("bias"))


def _layer_norm(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.layer_norm(c, x, m.normalized_shape, w("weight"), w("bias"))


def _group_norm(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.group_norm(c, x, m.num_groups, w("weight"), w("bias"))


def _linear(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.linear(c, x, w("weight"), w("bias"))


def _embedding(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.embedding(c, x, w("weight"))


def _prelu(c: Call, m: Any, w: Weights, x: Any) -> Node:
    weight = w("weight")
    return c.builder.pointwise(c.name, "prelu", [c.node(x)], weights=[weight] if weight else [])


def _dropout(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.dropout(c, x, m.p)


def _max_pool(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = ops.FUNCTIONS[name](
            c, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices
        )
        return node

    return rule


def _avg_pool(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = ops.FUNCTIONS[name](
            c, x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad
        )
        return node

    return rule


def _lp_pool(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = ops.FUNCTIONS[name](c, x, m.norm_type, m.kernel_size, m.stride, m.ceil_mode)
        return node

    return rule


def _adaptive(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = ops.FUNCTIONS[name](c, x, m.output_size)
        return node

    return rule


def _pad(mode: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        return ops.pad(c, x, m.padding, mode)

    return rule


def _upsample(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.interpolate(
        c, x, m.size, m.scale_factor, m.mode, m.align_corners, m.recompute_scale_factor
    )


def _pixel_shuffle(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.pixel_shuffle(c, x, m.upscale_factor)


def _flatten(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.flatten(c, x, m.start_dim, m.end_dim)


def _unflatten(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return ops.unflatten(c, x, m.dim, m.unflattened_size)


def _softmax(op: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        return c.builder.mix(c.name, op, c.node(x), [-1 if m.dim is None else m.dim])

    return rule


def _cellwise(op: str, view: bool = False) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        return c.builder.pointwise(c.name, op, [c.node(x)], view=view or c.inplace)

    return rule


def _ranks(name: str, rule: Rule) -> dict[str, Rule]:
    return {f"{name}{rank}d": rule for rank in (1, 2, 3)}


MODULES: Mapping[str, Rule] = {
    **_ranks("Conv", _conv),
    **_ranks("ConvTranspose", _conv_transpose),
    **_ranks("BatchNorm", _batch_norm),
    "SyncBatchNorm": _batch_norm,
    **_ranks("InstanceNorm", _instance_norm),
    **{f"MaxPool{r}d": _max_pool(f"max_pool{r}d") for r in (1, 2, 3)},
    **{f"AvgPool{r}d": _avg_pool(f"avg_pool{r}d") for r in (1, 2, 3)},
    **{f"LPPool{r}d": _lp_pool(f"lp_pool{r}d") for r in (1, 2)},
    **{f"AdaptiveAvgPool{r}d": _adaptive(f"adaptive_avg_pool{r}d") for r in (1, 2, 3)},
    **{f"AdaptiveMaxPool{r}d": _adaptive(f"adaptive_max_pool{r}d") for r in (1, 2, 3)},
    **_ranks("ZeroPad", _pad("constant")),
    **_ranks("ConstantPad", _pad("constant")),
    **_ranks("ReflectionPad", _pad("reflect")),
    **_ranks("ReplicationPad", _pad("replicate")),
    **_ranks("CircularPad", _pad("circular")),
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), _upsample),
    "PixelShuffle": _pixel_shuffle,
    "Linear": _linear,
    "Embedding": _embedding,
    **dict.fromkeys(("LayerNorm", "RMSNorm"), _layer_norm),
    "GroupNorm": _group_norm,
    "PReLU": _prelu,
    **dict.fromkeys(
        ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
        _dropout,
    ),
    "Flatten": _flatten,
    "Unflatten": _unflatten,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "Identity": _cellwise("identity", view=True),
    **{
        name: _cellwise(op)
        for name, op in (
            ("ReLU", "relu"), ("ReLU6", "relu6"), ("GELU", "gelu"), ("SiLU", "silu"),
            ("Sigmoid", "sigmoid"), ("Tanh", "tanh"), ("Hardswish", "hardswish"),
            ("Hardsigmoid", "hardsigmoid"), ("ELU", "elu"), ("SELU", "selu"), ("CELU", "celu"),
            ("LeakyReLU", "leaky_relu"), ("Softplus", "softplus"), ("Mish", "mish"),
            ("Hardtanh", "hardtanh"), ("LogSigmoid", "logsigmoid"), ("Softsign", "softsign"),
            ("Threshold", "threshold"),
        )
    },
}  # fmt: skip
"""A rule for each class of torch.nn; a class that is not here is unknown."""
