"""Nodes of a traced model that compute the same again: those that may be recorded.

Torch's functions that depend on nothing but their arguments, and change nothing but, where their
name says so, the first. Everything else (random numbers, state, code of the model's own) is left to
the model.
"""

import operator

import torch
from torch import fx, nn
from torch.nn import functional

from convscape.layers.torch.rewrite import ACTIVATING, ACTIVATIONS, COMPUTING, mutates

_MODULES = (
    *COMPUTING, *ACTIVATIONS, nn.Linear, nn.Flatten, nn.Unflatten, nn.Identity, nn.Sigmoid,
    nn.Tanh, nn.GELU, nn.Softmax, nn.PReLU, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d,
    nn.Upsample, nn.PixelShuffle,
)  # fmt: skip
_FUNCTIONS = (
    *ACTIVATING, functional.sigmoid, functional.tanh, functional.gelu, functional.softmax,
    functional.linear, functional.layer_norm, functional.group_norm, functional.interpolate,
    functional.pad, functional.normalize, torch.relu, torch.relu_, torch.sigmoid, torch.tanh,
    torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze,
    torch.cat, torch.concat, torch.stack, torch.add, torch.sub, torch.mul, torch.div, torch.mean,
    torch.sum, torch.amax, torch.chunk, torch.split, torch.matmul, torch.softmax,
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.iadd,
    operator.imul, operator.matmul, operator.getitem,
)  # fmt: skip
_METHODS = {
    "add", "add_", "sub", "mul", "mul_", "div", "mean", "sum", "amax", "relu", "relu_", "sigmoid",
    "tanh", "softmax", "flatten", "reshape", "view", "permute", "transpose", "contiguous",
    "squeeze", "unsqueeze", "expand", "chunk", "split", "size", "dim", "matmul",
}  # fmt: skip
_ATTRIBUTES = {"shape", "dtype", "device", "ndim"}


def refusal(model: fx.GraphModule, node: fx.Node) -> str | None:
    """Why a node that calls something may not be recorded; None where it may."""
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        allowed = type(module) in _MODULES
        name = type(module).__name__
    elif node.op == "call_method":
        allowed, name = node.target in _METHODS, f"Tensor.{node.target}"
    else:
        named = node.target is getattr and node.args[1] in _ATTRIBUTES
        allowed = node.target in _FUNCTIONS or named
        name = getattr(node.target, "__name__", str(node.target))
    if not allowed:
        return f"{name} is not known to compute the same again"
    if mutates(model, node) and any(
        read.op in ("placeholder", "get_attr") for read in node.all_input_nodes
    ):
        return f"{name} writes to an input or to the model's own memory"
    return None
