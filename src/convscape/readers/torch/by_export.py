"""Reads a torch module by torch.export."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Network, Node
from convscape.readers.torch.table import ATEN
from convscape.readers.torch.tools import collect, example_inputs, finished, ruled, weight_of


def by_export(model: nn.Module, builder: Builder, shapes: Sequence[tuple[int, ...]]) -> Network:
    """The network by torch.export: ATen operators, named by the layer they lie in."""
    program = torch.export.export(model, example_inputs(model, shapes), strict=False)
    signature = program.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    values: dict[fx.Node, Any] = {}
    pending = list(shapes)
    seen: dict[str, int] = {}
    outputs: Any = ()
    for node in program.graph.nodes:
        args = fx.node.map_arg(node.args, values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
        if node.op == "placeholder":
            if node.name in stored:
                values[node] = _by_path(model, program, stored[node.name])
            elif pending:
                values[node] = builder.input(node.name, pending.pop(0))
            else:
                values[node] = None
        elif node.op == "output":
            outputs = args[0]
        elif node.op == "call_function":
            values[node] = _operator(builder, _export_name(node, seen), node, args, kwargs)
        else:
            raise InputError("torch.export gives functions only", node.op, "use hooks")
    return finished(model, builder, outputs, "export")


def _by_path(model: nn.Module, program: Any, path: str) -> Any:
    try:
        value = operator.attrgetter(path)(model)
    except AttributeError:
        value = program.constants.get(path, program.state_dict.get(path))
    return weight_of(value) if isinstance(value, torch.Tensor) else value


def _export_name(node: fx.Node, seen: dict[str, int]) -> str:
    """The path of the layer that the operator lies in; numbered where a path comes again."""
    stack = node.meta.get("nn_module_stack")
    path, kind = list(stack.values())[-1] if stack else ("", "")
    leaf = str(kind).startswith("torch.nn.") or "torch.nn." in str(getattr(kind, "__module__", ""))
    name = path if path and leaf and "container" not in str(kind) else ""
    if not name:
        name = f"{path}.{node.name}" if path else node.name
    seen[name] = seen.get(name, 0) + 1
    return name if seen[name] == 1 else f"{name}.{node.name}"


def _operator(
    builder: Builder, name: str, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    target = node.target
    inputs: list[Node] = []
    collect((args, kwargs), inputs)
    if target is operator.getitem and not isinstance(args[0], Node):
        return args[0][args[1]]
    word = str(getattr(getattr(target, "overloadpacket", target), "__name__", target))
    if word.startswith("_assert") or word in ("sym_size", "sym_constrain_range_for_size"):
        return None
    value = node.meta.get("val")
    stated = tuple(map(int, value.shape)) if isinstance(value, torch.Tensor) else None
    if target is operator.getitem and args[0].problem:
        why = f"a result of {args[0].name}, which is not understood; its shape is torch.export's"
        return builder.unknown(name, word, inputs, why, shape=stated)
    inplace = word.endswith("_")
    return ruled(builder, name, word.rstrip("_"), ATEN, inplace, inputs, args, kwargs, stated)
