"""Layers as snippets to paste: code for Keras, PyTorch, ONNX Runtime and JAX."""

from collections.abc import Sequence

from convscape.arithmetic.dialects.layer import Layer
from convscape.arithmetic.dialects.translate import Translation, translate
from convscape.arithmetic.dialects.write import jax, keras, onnx, torch
from convscape.arithmetic.errors import InputError

__all__ = ["code"]

_WRITE = {"keras": keras.write, "torch": torch.write, "onnx": onnx.write, "jax": jax.write}


def code(what: Layer | Translation, spatial: Sequence[int] | None = None) -> str:
    """A complete snippet in the layer's framework: imports, the layer, a call, the output's shape.

    Every snippet defines `x` (one random sample) and `layer`; running it prints the output's
    spatial sizes.

    Args:
        what: A layer as it is written for a framework, or a translation.
        spatial: Input cells of each axis; a translation knows them.

    Raises:
        InputError: The layer is in no framework's dialect, or does not hold for these sizes.

    Example:
        >>> print(code(Layer.of("torch", "max_pool", 2, rank=2), (6, 6)))
        import torch
        from torch import nn
        <BLANKLINE>
        layer = nn.MaxPool2d((2, 2), stride=(2, 2))
        <BLANKLINE>
        x = torch.randn(1, 1, 6, 6)
        print(tuple(layer(x).shape[2:]))  # (3, 3)
    """
    if isinstance(what, Layer):
        if spatial is None or what.dialect not in _WRITE:
            raise InputError(
                "code is written for a framework and an input size",
                f"dialect={what.dialect}, spatial={spatial}",
                "translate the layer first, or give its input size",
            )
        what = translate(what, spatial, what.dialect)
    return _WRITE[what.layer.dialect](what)
