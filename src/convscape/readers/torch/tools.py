"""What the three ways to read a torch module share: weights, calls by rule, trees of values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.network import Network, Node, Weight
from convscape.readers.torch.call import Call
from convscape.readers.torch.modules import MODULES


def weight_of(tensor: Any) -> Weight:
    """What we note of a parameter or buffer; tied ones have one key."""
    parameter = isinstance(tensor, nn.Parameter)
    return Weight(
        f"{id(tensor)}", tuple(tensor.shape), parameter and tensor.requires_grad, not parameter,
        str(tensor.dtype).removeprefix("torch."),
    )  # fmt: skip


def stored_in(module: nn.Module) -> list[Weight]:
    """The parameters and buffers of a module."""
    return [weight_of(t) for t in (*module.parameters(), *module.buffers())]


def module_node(
    builder: Builder, name: str, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """The node of a module that fx, or a hook, takes as one."""
    inputs: list[Node] = []
    collect((args, kwargs), inputs)
    rule = next((MODULES[c] for c in _public(module) if c in MODULES), None)
    kind = type(module).__name__
    stored = stored_in(module)
    if rule is None:
        return builder.unknown(name, kind, inputs, f"no rule for torch module {kind}", stored)
    inplace = bool(getattr(module, "inplace", False))
    call = Call(builder, name, inplace, tuple(s for s in stored if s.buffer))
    return builder.attempt(
        name, kind, inputs, lambda: rule(call, module, _weights_of(module), *args, **kwargs), stored
    )


def _public(module: nn.Module) -> list[str]:
    """The names of torch.nn that the module is, its own class first (subclasses of ours too)."""
    for cls in type(module).__mro__:
        if cls.__module__.startswith("torch.nn."):
            return [cls.__name__]
        if getattr(cls, "forward", None) is not type(module).forward:
            break  # a class of its own with a forward of its own
    return []


def _weights_of(module: nn.Module) -> Callable[[str], Weight | None]:
    def weight(name: str) -> Weight | None:
        tensor = getattr(module, name, None)
        return None if tensor is None else weight_of(tensor)

    return weight


def ruled(
    builder: Builder,
    name: str,
    word: str,
    table: Mapping[str, Callable[..., Any]],
    inplace: bool,
    inputs: list[Node],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    stated: tuple[int, ...] | None = None,
) -> Any:
    """The node, or value, of a call by its rule; unknown where there is none."""
    weights: list[Weight] = []
    collect((args, kwargs), weights, Weight)
    rule = table.get(word)
    if rule is None:
        why = f"no rule for {word}"
        if stated is not None:
            why += "; its shape is torch.export's"
        return builder.unknown(name, word, inputs, why, weights, stated)
    call = Call(builder, name, inplace)
    made: list[Any] = []

    def make() -> Node:
        result = rule(call, *args, **kwargs)
        made.append(result)
        nodes: list[Node] = []
        collect(result, nodes)
        return nodes[0] if nodes else inputs[0]

    try:
        node = builder.attempt(name, word, inputs, make, weights)
    except (TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        why = f"not understood as {word}: {first_line(error)}"
        return builder.unknown(name, word, inputs, why, weights, stated)
    return made[0] if made else node


def example_inputs(model: nn.Module, shapes: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, ...]:
    """Inputs of these shapes, where the module's weights lie and of their type."""
    first = next(iter([*model.parameters(), *model.buffers()]), None)
    device = first.device if first is not None else torch.device("cpu")
    dtype = first.dtype if first is not None and first.is_floating_point() else torch.float32
    return tuple(torch.zeros(shape, device=device, dtype=dtype) for shape in shapes)


def finished(model: nn.Module, builder: Builder, outputs: Any, method: str) -> Network:
    """The network, with the weights that no operation has read."""
    left = [weight_of(p) for p in model.parameters()] + [weight_of(b) for b in model.buffers()]
    builder.leftover("weights that nothing reads", left)
    found: list[Node] = []
    collect(outputs, found)
    return builder.network(found, method)


def collect(tree: Any, out: list[Any], kind: type = Node) -> None:
    """All values of one kind in nested sequences and mappings, in order."""
    if isinstance(tree, kind):
        out.append(tree)
    elif isinstance(tree, Mapping):
        collect(list(tree.values()), out, kind)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            collect(part, out, kind)


def mapped(tree: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """A tree of values with a function applied to its tensors."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {k: mapped(v, function) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return tuple(mapped(v, function) for v in tree)
    return tree


def first_line(error: BaseException) -> str:
    """The first line of a message, cut to a length that is read."""
    text = str(error).strip().splitlines()
    return (text[0] if text else "no message")[:160]
