"""Reads torch modules: by torch.fx, where that fails by torch.export, at last by hooks.

All three give a list of operations; shapes follow from our calculus. torch.fx and torch.export
run the module's Python code on symbols (which is why an import path is code that you trust), not
on numbers. Hooks run it on tensors without storage; then only the modules are seen, and what lies
between them is said to be unknown.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Network, Node, Weight
from convscape.readers.torch_modules import MODULES
from convscape.readers.torch_ops import ATEN, FUNCTIONS, Call, size

METHODS = ("fx", "export", "hooks")


def read_model(
    model: nn.Module,
    input_shape: Sequence[Sequence[int]] | None,
    batch: int = 1,
    method: str | None = None,
) -> Network:
    """The network of a module.

    Args:
        model: The module; its mode and its numbers stay as they are.
        input_shape: One shape an input, without the batch axis.
        batch: Samples in a batch.
        method: fx, export or hooks; by default the first that understands every operation, or
            the one that leaves fewest shapes unknown.

    Raises:
        InputError: No input shape, or none of the methods can follow the module.
    """
    if not input_shape:
        raise InputError(
            "a torch module needs its input's shape", "none", "give --input, e.g. --input 3x224x224"
        )
    if method is not None and method not in METHODS:
        raise InputError("a method must be a known one", method, f"one of {', '.join(METHODS)}")
    shapes = [(batch, *shape) for shape in input_shape]
    readers = {"fx": _by_fx, "export": _by_export, "hooks": _by_hooks}
    best: Network | None = None
    failures = []
    for name in [method] if method else METHODS:
        builder = Builder(type(model).__name__, "torch", batch)
        try:
            with _evaluating(model):
                network = readers[name](model, builder, shapes)
        except Exception as error:  # whatever the module's own code raises
            failures.append(f"{name}: {type(error).__name__}: {_line(error)}")
            continue
        if best is None or _gaps(network) < _gaps(best):
            best = network
        if best.totals.unknown == 0 or name == "export":
            break  # hooks see less than export, never more
    if best is None:
        raise InputError(
            "a module must be followed by torch.fx, torch.export or hooks",
            f"{type(model).__name__} with input {' and '.join(map(str, shapes))}: "
            + "; ".join(failures),
            "check the input shape, or trace its submodules",
        )
    return best


def _gaps(network: Network) -> tuple[int, int]:
    """How many shapes are not known, and how many operations not understood."""
    return sum(n.shape is None for n in network.nodes), network.totals.unknown


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the time being, so that nothing counts batches or draws numbers."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _finished(model: nn.Module, builder: Builder, outputs: Any, method: str) -> Network:
    """The network, with the weights that no operation has read."""
    left = [_weight(p) for p in model.parameters()] + [_weight(b) for b in model.buffers()]
    builder.leftover("weights that nothing reads", left)
    found: list[Node] = []
    _nodes(outputs, found)
    return builder.network(found, method)


def _weight(tensor: Any) -> Weight:
    parameter = isinstance(tensor, nn.Parameter)
    return Weight(
        f"{id(tensor)}", tuple(tensor.shape), parameter and tensor.requires_grad, not parameter,
        str(tensor.dtype).removeprefix("torch."),
    )  # fmt: skip


def _stored(module: nn.Module) -> list[Weight]:
    return [_weight(t) for t in (*module.parameters(), *module.buffers())]


# -- torch.fx ------------------------------------------------------------------------------------


def _by_fx(model: nn.Module, builder: Builder, shapes: Sequence[tuple[int, ...]]) -> Network:
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
            values[node] = _module(
                builder, str(node.target), modules[str(node.target)], args, kwargs
            )
        elif node.op == "output":
            outputs = args[0]
        else:
            values[node] = _function(builder, _fx_name(node), node, args, kwargs)
    return _finished(model, builder, outputs, "fx")


def _fx_name(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    path = list(stack.values())[-1][0] if stack else ""
    return f"{path}.{node.name}" if path else node.name


def _attribute(model: nn.Module, path: str) -> Any:
    value: Any = operator.attrgetter(path)(model)
    return _weight(value) if isinstance(value, torch.Tensor) else value


def _module(
    builder: Builder, name: str, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """The node of a module that fx, or a hook, takes as one."""
    inputs: list[Node] = []
    _nodes((args, kwargs), inputs)
    rule = next((MODULES[c] for c in _public(module) if c in MODULES), None)
    kind = type(module).__name__
    stored = _stored(module)
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
        return None if tensor is None else _weight(tensor)

    return weight


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
    _nodes((args, kwargs), inputs)
    plain = getattr(target, "__module__", "") in ("_operator", "builtins", "math")
    if plain and not inputs and not any(isinstance(a, Weight) for a in args):
        return target(*args, **kwargs)  # type: ignore[operator]
    if word in ("size", "dim", "numel"):
        return FUNCTIONS[word](Call(builder, name), *args, **kwargs)
    inplace = (word.endswith("_") and not word.startswith("__")) or bool(kwargs.get("inplace"))
    kwargs = {k: v for k, v in kwargs.items() if k != "inplace"}
    return _ruled(builder, name, word.rstrip("_"), FUNCTIONS, inplace, inputs, args, kwargs)


def _ruled(
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
    weights: list[Weight] = []
    _nodes((args, kwargs), weights, Weight)
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
        _nodes(result, nodes)
        return nodes[0] if nodes else inputs[0]

    try:
        node = builder.attempt(name, word, inputs, make, weights)
    except (TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        why = f"not understood as {word}: {_line(error)}"
        return builder.unknown(name, word, inputs, why, weights, stated)
    return made[0] if made else node


# -- torch.export --------------------------------------------------------------------------------


def _by_export(model: nn.Module, builder: Builder, shapes: Sequence[tuple[int, ...]]) -> Network:
    program = torch.export.export(model, _examples(model, shapes), strict=False)
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
    return _finished(model, builder, outputs, "export")


def _examples(model: nn.Module, shapes: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, ...]:
    first = next(iter([*model.parameters(), *model.buffers()]), None)
    device = first.device if first is not None else torch.device("cpu")
    dtype = first.dtype if first is not None and first.is_floating_point() else torch.float32
    return tuple(torch.zeros(shape, device=device, dtype=dtype) for shape in shapes)


def _by_path(model: nn.Module, program: Any, path: str) -> Any:
    try:
        value = operator.attrgetter(path)(model)
    except AttributeError:
        value = program.constants.get(path, program.state_dict.get(path))
    return _weight(value) if isinstance(value, torch.Tensor) else value


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
    _nodes((args, kwargs), inputs)
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
    return _ruled(builder, name, word.rstrip("_"), ATEN, inplace, inputs, args, kwargs, stated)


# -- hooks ---------------------------------------------------------------------------------------


def _by_hooks(model: nn.Module, builder: Builder, shapes: Sequence[tuple[int, ...]]) -> Network:
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
            call = _mapped(args, lambda t: node_of(t, name))
            named = _mapped(kwargs, lambda t: node_of(t, name))
            result = _module(builder, name, module, call, named)
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
            examples = [mode.from_tensor(t) for t in _examples(model, shapes)]
            for at, example in enumerate(examples):
                kept.append(example)
                made[id(example)] = builder.input(f"input_{at}", shapes[at])
            outputs = model(*examples)
    finally:
        for handle in handles:
            handle.remove()
    tensors: list[Any] = []
    _nodes(outputs, tensors, torch.Tensor)
    return _finished(model, builder, [node_of(t, "output") for t in tensors], "hooks")


# -- trees of values -----------------------------------------------------------------------------


def _nodes(tree: Any, out: list[Any], kind: type = Node) -> None:
    """All values of one kind in nested sequences and mappings, in order."""
    if isinstance(tree, kind):
        out.append(tree)
    elif isinstance(tree, Mapping):
        _nodes(list(tree.values()), out, kind)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            _nodes(part, out, kind)


def _mapped(tree: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {k: _mapped(v, function) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return tuple(_mapped(v, function) for v in tree)
    return tree


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else "no message")[:160]
