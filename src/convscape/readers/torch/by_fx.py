"""Reads a torch module by torch.fx."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.network import Network, Node, Weight
from convscape.readers.torch.call import Call
from convscape.readers.torch.order import size
from convscape.readers.torch.table import FUNCTIONS
from convscape.readers.torch.tools import collect, finished, module_node, ruled, weight_of


def by_fx(model: nn.Module, builder: Builder, shapes: Sequence[tuple[int, ...]]) -> Network:
    """The network by torch.fx: modules of torch.nn, functions and methods."""
    import inspect

    names = list(inspect.signature(model.forward).parameters.values())
    constant = {p.name: p.default for p in names[len(shapes) :] if p.default is not p.empty}
    graph = fx.Tracer().trace(model, concrete_args=constant or None)
    modules = dict(model.named_modules())
    values: dict[fx.Node, Any] = {}
    pending = list(shapes)
    outputs: Any = ()
    for node in graph.nodes:
        args = fx.node.map_arg(node.args, values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
        if node.op == "placeholder":
            if pending:
                values[node] = builder.input(str(node.target), pending.pop(0))
            else:
                values[node] = node.args[0] if node.args else None
        elif node.op == "get_attr":
            values[node] = _attribute(model, str(node.target))
        elif node.op == "call_module":
            values[node] = module_node(
                builder, str(node.target), modules[str(node.target)], args, kwargs
            )
        elif node.op == "output":
            outputs = args[0]
        else:
            values[node] = _function(builder, _fx_name(node), node, args, kwargs)
    return finished(model, builder, outputs, "fx")


def _fx_name(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    path = list(stack.values())[-1][0] if stack else ""
    return f"{path}.{node.name}" if path else node.name


def _attribute(model: nn.Module, path: str) -> Any:
    value: Any = operator.attrgetter(path)(model)
    return weight_of(value) if isinstance(value, torch.Tensor) else value


def _function(
    builder: Builder, name: str, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """A function or method that fx has recorded: on tensors a node, on sizes its value."""
    target = node.target
    word = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    if target is getattr:
        what = args[1]
        if what in ("shape", "ndim", "dtype", "device"):
            shape = size(Call(builder, name), args[0])
            return {"shape": shape, "ndim": len(shape)}.get(what, what)
    inputs: list[Node] = []
    collect((args, kwargs), inputs)
    plain = getattr(target, "__module__", "") in ("_operator", "builtins", "math")
    if plain and not inputs and not any(isinstance(a, Weight) for a in args):
        return target(*args, **kwargs)  # type: ignore[operator]
    if word in ("size", "dim", "numel"):
        return FUNCTIONS[word](Call(builder, name), *args, **kwargs)
    inplace = (word.endswith("_") and not word.startswith("__")) or bool(kwargs.get("inplace"))
    kwargs = {k: v for k, v in kwargs.items() if k != "inplace"}
    return ruled(builder, name, word.rstrip("_"), FUNCTIONS, inplace, inputs, args, kwargs)
