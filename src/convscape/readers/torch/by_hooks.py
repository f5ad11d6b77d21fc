"""Reads a torch module by hooks on its modules."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.network import Network, Node
from convscape.readers.torch.tools import collect, example_inputs, finished, mapped, module_node


def by_hooks(model: nn.Module, builder: Builder, shapes: Sequence[tuple[int, ...]]) -> Network:
    """Runs the module on tensors without storage, and takes down the modules with a rule.

    A tensor that comes from none of them is one that functions between them have made: its node is
    unknown, with the shape that it was seen to have.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    made: dict[int, Node] = {}
    kept: list[Any] = []  # tensors stay alive, so that no id is used again

    def node_of(tensor: torch.Tensor, reader: str) -> Node:
        if id(tensor) not in made:
            kept.append(tensor)
            made[id(tensor)] = builder.unknown(
                f"(before {reader})", "functions", list(builder.nodes[-1:]),
                "hooks do not see what the code does between modules; its shape is the run's",
                shape=tuple(tensor.shape),
            )  # fmt: skip
        return made[id(tensor)]

    def hook(name: str) -> Callable[..., None]:
        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            call = mapped(args, lambda t: node_of(t, name))
            named = mapped(kwargs, lambda t: node_of(t, name))
            result = module_node(builder, name, module, call, named)
            if isinstance(output, torch.Tensor):
                kept.append(output)
                made[id(output)] = result

        return after

    handles = [
        module.register_forward_hook(hook(name), with_kwargs=True)
        for name, module in model.named_modules()
        if not any(module.children()) and name
    ]
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            examples = [mode.from_tensor(t) for t in example_inputs(model, shapes)]
            for at, example in enumerate(examples):
                kept.append(example)
                made[id(example)] = builder.input(f"input_{at}", shapes[at])
            outputs = model(*examples)
    finally:
        for handle in handles:
            handle.remove()
    tensors: list[Any] = []
    collect(outputs, tensors, torch.Tensor)
    return finished(model, builder, [node_of(t, "output") for t in tensors], "hooks")
