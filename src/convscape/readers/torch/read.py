"""Reads torch modules: by torch.fx, where that fails by torch.export, at last by hooks.

All three give a list of operations; shapes follow from our calculus. torch.fx and torch.export
run the module's Python code on symbols (which is why an import path is code that you trust), not
on numbers. Hooks run it on tensors without storage; then only the modules are seen, and what lies
between them is said to be unknown.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Network
from convscape.readers.torch.by_export import by_export
from convscape.readers.torch.by_fx import by_fx
from convscape.readers.torch.by_hooks import by_hooks
from convscape.readers.torch.tools import first_line

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
    readers = {"fx": by_fx, "export": by_export, "hooks": by_hooks}
    best: Network | None = None
    failures = []
    for name in [method] if method else METHODS:
        builder = Builder(type(model).__name__, "torch", batch)
        try:
            with _evaluating(model):
                network = readers[name](model, builder, shapes)
        except Exception as error:  # whatever the module's own code raises
            failures.append(f"{name}: {type(error).__name__}: {first_line(error)}")
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
