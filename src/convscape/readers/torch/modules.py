"""What each module of torch.nn does: its attributes, handed to the function it stands for."""

from collections.abc import Callable, Mapping
from typing import Any

from convscape.arithmetic.network import Node, Weight
from convscape.readers.torch.call import Call
from convscape.readers.torch.cells import dropout
from convscape.readers.torch.dense import (
    batch_norm,
    embedding,
    group_norm,
    instance_norm,
    layer_norm,
    linear,
)
from convscape.readers.torch.order import flatten, unflatten
from convscape.readers.torch.table import FUNCTIONS
from convscape.readers.torch.windows import conv, conv_transpose, interpolate, pad, pixel_shuffle

Weights = Callable[[str], Weight | None]


Rule = Callable[..., Node]


def _conv_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return conv(
        c, x, w("weight"), w("bias"), m.stride, m.padding, m.dilation, m.groups, m.padding_mode
    )


def _conv_transpose_module(c: Call, m: Any, w: Weights, x: Any, output_size: Any = None) -> Node:
    return conv_transpose(
        c, x, w("weight"), w("bias"), m.stride, m.padding, m.output_padding, m.groups, m.dilation
    )


def _batch_norm_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return batch_norm(
        c, x, w("weight"), w("bias"), w("running_mean"), w("running_var"), False, m.momentum, m.eps
    )


def _instance_norm_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return instance_norm(c, x, w("weight"), w("bias"))


def _layer_norm_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return layer_norm(c, x, m.normalized_shape, w("weight"), w("bias"))


def _group_norm_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return group_norm(c, x, m.num_groups, w("weight"), w("bias"))


def _linear_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return linear(c, x, w("weight"), w("bias"))


def _embedding_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return embedding(c, x, w("weight"))


def _prelu_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    weight = w("weight")
    return c.builder.pointwise(c.name, "prelu", [c.node(x)], weights=[weight] if weight else [])


def _dropout_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return dropout(c, x, m.p)


def _max_pool_module(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = FUNCTIONS[name](
            c, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices
        )
        return node

    return rule


def _avg_pool_module(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = FUNCTIONS[name](
            c, x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad
        )
        return node

    return rule


def _lp_pool_module(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = FUNCTIONS[name](c, x, m.norm_type, m.kernel_size, m.stride, m.ceil_mode)
        return node

    return rule


def _adaptive_module(name: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        node: Node = FUNCTIONS[name](c, x, m.output_size)
        return node

    return rule


def _pad_module(mode: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        return pad(c, x, m.padding, mode)

    return rule


def _upsample_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return interpolate(
        c, x, m.size, m.scale_factor, m.mode, m.align_corners, m.recompute_scale_factor
    )


def _pixel_shuffle_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return pixel_shuffle(c, x, m.upscale_factor)


def _flatten_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return flatten(c, x, m.start_dim, m.end_dim)


def _unflatten_module(c: Call, m: Any, w: Weights, x: Any) -> Node:
    return unflatten(c, x, m.dim, m.unflattened_size)


def _softmax_module(op: str) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        return c.builder.mix(c.name, op, c.node(x), [-1 if m.dim is None else m.dim])

    return rule


def _cellwise_module(op: str, view: bool = False) -> Rule:
    def rule(c: Call, m: Any, w: Weights, x: Any) -> Node:
        return c.builder.pointwise(c.name, op, [c.node(x)], view=view or c.inplace)

    return rule


def _ranks_module(name: str, rule: Rule) -> dict[str, Rule]:
    return {f"{name}{rank}d": rule for rank in (1, 2, 3)}


MODULES: Mapping[str, Rule] = {
    **_ranks_module("Conv", _conv_module),
    **_ranks_module("ConvTranspose", _conv_transpose_module),
    **_ranks_module("BatchNorm", _batch_norm_module),
    "SyncBatchNorm": _batch_norm_module,
    **_ranks_module("InstanceNorm", _instance_norm_module),
    **{f"MaxPool{r}d": _max_pool_module(f"max_pool{r}d") for r in (1, 2, 3)},
    **{f"AvgPool{r}d": _avg_pool_module(f"avg_pool{r}d") for r in (1, 2, 3)},
    **{f"LPPool{r}d": _lp_pool_module(f"lp_pool{r}d") for r in (1, 2)},
    **{f"AdaptiveAvgPool{r}d": _adaptive_module(f"adaptive_avg_pool{r}d") for r in (1, 2, 3)},
    **{f"AdaptiveMaxPool{r}d": _adaptive_module(f"adaptive_max_pool{r}d") for r in (1, 2, 3)},
    **_ranks_module("ZeroPad", _pad_module("constant")),
    **_ranks_module("ConstantPad", _pad_module("constant")),
    **_ranks_module("ReflectionPad", _pad_module("reflect")),
    **_ranks_module("ReplicationPad", _pad_module("replicate")),
    **_ranks_module("CircularPad", _pad_module("circular")),
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), _upsample_module),
    "PixelShuffle": _pixel_shuffle_module,
    "Linear": _linear_module,
    "Embedding": _embedding_module,
    **dict.fromkeys(("LayerNorm", "RMSNorm"), _layer_norm_module),
    "GroupNorm": _group_norm_module,
    "PReLU": _prelu_module,
    **dict.fromkeys(
        ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
        _dropout_module,
    ),
    "Flatten": _flatten_module,
    "Unflatten": _unflatten_module,
    "Softmax": _softmax_module("softmax"),
    "LogSoftmax": _softmax_module("log_softmax"),
    "Identity": _cellwise_module("identity", view=True),
    **{
        name: _cellwise_module(op)
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
