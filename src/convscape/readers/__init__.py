"""Reads whole models: Keras, PyTorch and ONNX become a `Network`.

`trace` takes a model that is there; `convscape.readers.targets` finds one by file or import path.
Each reader imports its framework only when it is called.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Network

__all__ = ["trace"]

Shape = Sequence[int]


def trace(
    model: Any,
    input_shape: Shape | Sequence[Shape] | None = None,
    *,
    batch: int | None = None,
    method: str | None = None,
) -> Network:
    """Shapes, parameters, MACs, memory and receptive fields of a whole model, without running it.

    Shapes come from convscape's own arithmetic. A layer that is not understood is marked with the
    reason (`Node.problem`), and the rest is traced where its output shape is known.

    Args:
        model: A Keras model, a `torch.nn.Module`, or the path of an `.onnx` or `.keras` file.
            Files are only parsed. A torch module's code is run on symbols.
        input_shape: The input's shape without the batch axis, in the model's own layout, or one
            shape for each input. A model that fixes its sizes may leave it out.
        batch: Samples in a batch; by default 1, or what an ONNX file says.
        method: For a torch module: fx, export or hooks, instead of the first that does.

    Returns:
        The network; `convscape.arithmetic.memory.memory` and `convscape.arithmetic.findings` go
        on from there.

    Raises:
        InputError: The model cannot be read, or its input's shape is not known.

    Example:
        >>> import torch
        >>> net = trace(torch.nn.Conv2d(3, 8, 3, padding=1), (3, 32, 32))
        >>> net.totals.params, net.totals.macs
        (224, 221184)
    """
    if batch is not None and batch < 1:
        raise InputError("a batch has at least 1 sample", f"batch={batch}", "use batch=1")
    network = _read(model, _shapes(input_shape), batch, method)
    layers = network.layers
    if layers and network.totals.unknown == len(layers):
        first = layers[0]
        raise InputError(
            "some layer of the model must be understood",
            f"{first.name} ({first.op}): {first.problem}",
            "check the input shape, or the layer",
        )
    return network


def _read(
    model: Any, shapes: list[tuple[int, ...]] | None, batch: int | None, method: str | None
) -> Network:
    if isinstance(model, (str, Path)):
        return _file(Path(model), shapes, batch)
    modules = [str(cls.__module__) for cls in type(model).__mro__]
    if any(m == "keras" or m.startswith("keras.") for m in modules):
        from convscape.readers import keras

        return keras.read_model(model, shapes, batch or 1)
    if any(m.startswith("torch.nn.") for m in modules):
        from convscape.readers import torch

        return torch.read_model(model, shapes, batch or 1, method)
    raise InputError(
        "a model is a Keras model, a torch.nn.Module, or an .onnx or .keras file",
        f"an object of {type(model).__module__}.{type(model).__qualname__}",
        "give one of these",
    )


def _file(path: Path, shapes: list[tuple[int, ...]] | None, batch: int | None) -> Network:
    if not path.is_file():
        raise InputError("the model file must exist", str(path), "check the path")
    if path.suffix == ".onnx":
        from convscape.readers import onnx

        return onnx.read_file(path, shapes, batch)
    if path.suffix == ".keras":
        from convscape.readers import keras

        return keras.read_file(path, shapes, batch or 1)
    raise InputError(
        "a model file ends in .onnx or .keras",
        str(path),
        "export to ONNX, or trace the model object by its import path",
    )


def _shapes(given: Shape | Sequence[Shape] | None) -> list[tuple[int, ...]] | None:
    """One shape an input, whichever way they were given."""
    if given is None:
        return None
    values: list[Any] = list(given)
    if all(isinstance(v, int) for v in values):
        values = [values]
    shapes = [tuple(v) for v in values]
    if any(not isinstance(n, int) or n < 1 for shape in shapes for n in shape):
        raise InputError(
            "an input shape is made of whole numbers of at least 1", f"{given}",
            "e.g. (3, 224, 224), without the batch axis",
        )  # fmt: skip
    return shapes
