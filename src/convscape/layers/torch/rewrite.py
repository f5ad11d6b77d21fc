"""A traced model in evaluation, rewritten for our kernels; one function a step.

Every step looks at one pattern and asks for the same two things before it removes a value: that
nobody else uses it, and that no hook watches the module that made it.
"""

import copy
import operator
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convscape.layers.torch import calls
from convscape.layers.torch.convert import OURS
from convscape.layers.torch.fused import (
    Call,
    FusedBatchNorm2d,
    FusedConv2d,
    FusedLinear,
    add_into,
)

_IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_DROPOUTS = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)

_MODULES: dict[type[nn.Module], type[nn.Module]] = OURS | {
    nn.Conv2d: FusedConv2d, nn.BatchNorm2d: FusedBatchNorm2d, nn.Linear: FusedLinear,
}  # fmt: skip
COMPUTING = (*_MODULES.values(), Call)
"""Classes of modules that compute on our kernels."""

_FUNCTIONS: dict[Any, Any] = {
    functional.conv2d: calls.conv2d,
    functional.conv_transpose2d: calls.conv_transpose2d,
    functional.max_pool2d: calls.max_pool2d,
    torch.max_pool2d: calls.max_pool2d,
    functional.avg_pool2d: calls.avg_pool2d,
    functional.adaptive_avg_pool2d: calls.adaptive_avg_pool2d,
    functional.batch_norm: calls.batch_norm,
}
_WITH_BOUND = (calls.conv2d, FusedConv2d, FusedLinear)
_WITH_RELU = (*_WITH_BOUND, calls.batch_norm, FusedBatchNorm2d, add_into)

ACTIVATIONS: tuple[Any, ...] = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.LeakyReLU, nn.ELU,
)  # fmt: skip
ACTIVATING: tuple[Any, ...] = (
    functional.relu, functional.relu6, functional.hardtanh, functional.hardswish,
    functional.hardsigmoid, functional.silu, functional.leaky_relu, functional.elu,
)  # fmt: skip
_ADDS = (operator.add, operator.iadd, torch.add)
_CATS = (torch.cat, torch.concat, torch.concatenate)
_NEW = (operator.add, torch.add)  # functions whose result is nobody else's memory


def rewrite(model: fx.GraphModule) -> None:
    """All steps, in place."""
    _drop_idle(model)
    _separate(model)
    _fold(model)
    _take(model)
    _fuse_relu(model)
    _fuse_residual(model)
    _fuse_relu(model)
    _in_place(model)
    _fuse_relu(model)
    _reshape(model)
    _lay_weights(model)
    model.graph.lint()
    model.recompile()
    model.delete_all_unused_submodules()


def uses_ours(model: fx.GraphModule) -> bool:
    """Whether anything in the graph computes on our kernels."""
    return any(isinstance(module, COMPUTING) for module in model.modules())


# --- what a node is ------------------------------------------------------------------------------


def _module(model: fx.GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls, if no hook watches it."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    module = model.get_submodule(str(node.target))
    hooks: Any = module
    watched = hooks._forward_hooks or hooks._forward_pre_hooks
    return None if watched else module


def _calls(model: fx.GraphModule, kind: Any) -> Iterator[tuple[fx.Node, Any]]:
    """Nodes that call a module of exactly one of these classes."""
    for node in list(model.graph.nodes):
        module = _module(model, node)
        if type(module) in (kind if isinstance(kind, tuple) else (kind,)):
            yield node, module


def _alone(node: fx.Node) -> fx.Node | None:
    """The only tensor that a node reads, if nothing else reads it."""
    read = node.all_input_nodes
    return read[0] if len(read) == 1 and len(read[0].users) == 1 else None


def _is_relu(model: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    if node.op == "call_function":
        return node.target in (functional.relu, torch.relu, torch.relu_)
    return type(_module(model, node)) is nn.ReLU


def _rectifies(model: fx.GraphModule, node: fx.Node) -> bool | float:
    """True for a ReLU, its upper bound for one that has one (ReLU6), else False."""
    if node.op == "call_function" and node.target is functional.relu6:
        return 6.0
    module: Any = _module(model, node)
    if type(module) in (nn.ReLU6, nn.Hardtanh) and module.min_val == 0:
        return float(module.max_val)
    return _is_relu(model, node)


def _sum(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The two different tensors that a node adds."""
    named = node.target in (("add", "add_") if node.op == "call_method" else _ADDS)
    if node.op not in ("call_method", "call_function") or not named or node.kwargs:
        return None
    if len(node.args) != 2 or len(node.all_input_nodes) != 2:
        return None
    a, b = node.args
    return (a, b) if isinstance(a, fx.Node) and isinstance(b, fx.Node) else None


def mutates(model: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node may write to a tensor that it reads."""
    if node.op == "call_module":
        module: Any = _module(model, node)
        if type(module) is Call:
            return module.function is add_into
        return module is None or bool(getattr(module, "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_") or node.target == "__setitem__"
    name = str(getattr(node.target, "__name__", ""))
    return (
        name.endswith("_")
        or name in ("setitem", "iadd", "isub", "imul", "itruediv")
        or bool(node.kwargs.get("inplace"))
        or "out" in node.kwargs
    )


def _replace(node: fx.Node, by: fx.Node) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def _call(model: fx.GraphModule, node: fx.Node, module: nn.Module, args: Any, kwargs: Any) -> None:
    """Let a call of `module` take a node's place."""
    name = _free(model, f"{node.name}_call")
    model.add_submodule(name, module)
    with node.graph.inserting_before(node):
        _replace(node, node.graph.call_module(name, args, kwargs))


def _free(model: fx.GraphModule, name: str) -> str:
    """A name that no module has yet."""
    taken = {known for known, _ in model.named_modules(remove_duplicate=False)}
    return next(n for n in chain((name,), (f"{name}_{k}" for k in count(1))) if n not in taken)


# --- the steps ---------------------------------------------------------------------------------


def _drop_idle(model: fx.GraphModule) -> None:
    """What does nothing in evaluation."""
    for node in list(model.graph.nodes):
        idle = type(_module(model, node)) in _IDLE or (
            node.op == "call_function"
            and node.target in _DROPOUTS
            and node.kwargs.get("training") is False
        )
        if idle and len(node.all_input_nodes) == 1:
            _replace(node, node.all_input_nodes[0])


def _separate(model: fx.GraphModule) -> None:
    """A module of its own for each call, so that each can be changed alone; tensors are shared."""
    seen = set()
    for node, module in _calls(model, (*_MODULES, *ACTIVATIONS)):
        if id(module) in seen:
            module = copy.copy(module)
            node.target = _free(model, f"{node.target}_again")
            model.add_submodule(node.target, module)
        seen.add(id(module))


def _fold(model: fx.GraphModule) -> None:
    """Batch normalization into the convolution before it."""
    for node, norm in _calls(model, nn.BatchNorm2d):
        before = _alone(node)
        conv: Any = _module(model, before)
        if before is None or norm.running_mean is None or norm.running_var is None:
            continue
        transposed = type(conv) is nn.ConvTranspose2d and conv.groups == 1
        if type(conv) is not nn.Conv2d and not transposed:
            continue
        fused = fuse_conv_bn_eval(conv, norm, transposed)
        model.add_submodule(str(before.target), fused)
        _replace(node, before)


def _take(model: fx.GraphModule) -> None:
    """Our modules and functions for torch's."""
    for _, module in _calls(model, tuple(_MODULES)):
        module.__class__ = _MODULES[type(module)]
    for node, module in _calls(model, nn.AdaptiveAvgPool2d):
        _call(model, node, Call(calls.adaptive_avg_pool2d), (*node.args, module.output_size), {})
    for node in list(model.graph.nodes):
        if node.op == "call_function" and node.target in _FUNCTIONS:
            _call(model, node, Call(_FUNCTIONS[node.target]), node.args, node.kwargs)
        elif node.op == "call_function" and node.target in _CATS:
            _call(model, node, Call(calls.cat), node.args, node.kwargs)


def _fuse_relu(model: fx.GraphModule) -> None:
    """A ReLU into the convolution, batch normalization or sum that alone it follows."""
    for node in list(model.graph.nodes):
        relu = _rectifies(model, node)
        before = _alone(node) if relu else None
        module: Any = _module(model, before)
        if before is None or getattr(module, "relu", True) is not False:
            continue
        called = module.function if isinstance(module, Call) else type(module)
        if called in (_WITH_RELU if relu is True else _WITH_BOUND):
            module.relu = relu
            _replace(node, before)


def _fuse_residual(model: fx.GraphModule) -> None:
    """The sum of a batch normalization and another tensor into the normalization."""
    for node in list(model.graph.nodes):
        for one, other in ((s := _sum(node)) and (s, s[::-1])) or ():
            module = _module(model, one)
            if not isinstance(module, FusedBatchNorm2d) or module.relu:
                continue
            if len(one.args) != 1 or len(one.users) != 1:
                continue
            # It is computed where the sum was: by then nothing may have changed its input.
            between = one.next
            while between is not node and not mutates(model, between):
                between = between.next
            if between is not node:
                continue
            with model.graph.inserting_before(node):
                whole = model.graph.call_module(str(one.target), (one.args[0], other))
            _replace(node, whole)
            model.graph.erase_node(one)
            break


def _is_new(model: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node's result lies in memory of its own, and one node alone reads it."""
    if len(node.users) != 1:
        return False
    if node.op == "call_function":
        return node.target in _NEW
    module = _module(model, node)
    return isinstance(module, (*COMPUTING, nn.Linear))


def _in_place(model: fx.GraphModule) -> None:
    """Sums and activations in memory that nobody needs any more."""
    for node in list(model.graph.nodes):
        pair = _sum(node)
        if pair is not None and node.target not in (operator.iadd, "add_"):
            target = next((n for n in pair if _is_new(model, n)), None)
            if target is not None:
                other = pair[1] if target is pair[0] else pair[0]
                _call(model, node, Call(add_into), (target, other), {})
            continue
        before = _alone(node)
        if before is None or not _is_new(model, before):
            continue
        module: Any = _module(model, node)
        if type(module) in ACTIVATIONS:
            module.inplace = True
        elif node.op == "call_function" and node.target in ACTIVATING:
            node.kwargs = {**node.kwargs, "inplace": True}
        elif _is_relu(model, node):
            node.op, node.target, node.kwargs = "call_function", torch.relu_, {}


def _reshape(model: fx.GraphModule) -> None:
    """`view` asks for plain order in memory, `reshape` does not."""
    for node in model.graph.nodes:
        if node.op == "call_method" and node.target in ("view", "view_as"):
            if any(isinstance(a, torch.dtype) for a in node.args):
                continue
            node.target = str(node.target).replace("view", "reshape")


def _lay_weights(model: fx.GraphModule) -> None:
    """Output channels last in memory: the order in which our kernels copy them whole.

    The kernels for one channel a group take them as they are.
    """
    for module in model.modules():
        if isinstance(module, FusedConv2d) and module.weight.shape[1] > 1:
            laid = module.weight.detach().permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
            module.weight = nn.Parameter(laid, requires_grad=False)
