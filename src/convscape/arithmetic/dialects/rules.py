"""One axis in any dialect: the table of dialects, their defaults, and `window`."""

from convscape.arithmetic.dialects import jax, keras, onnx, own, torch
from convscape.arithmetic.dialects.axis import Axis
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.operations import operation
from convscape.arithmetic.padding import Padding
from convscape.arithmetic.window import Window

DIALECTS = ("keras", "torch", "onnx", "jax")

_WINDOW = {
    "keras": keras.window,
    "torch": torch.window,
    "onnx": onnx.window,
    "jax": jax.window,
    "convscape": own.window,
}
_DEFAULT_PADDING: dict[str, Padding] = {
    "keras": "valid",
    "torch": 0,
    "onnx": 0,
    "jax": "VALID",
    "convscape": 0,
}
_ALSO = {"tensorflow": "keras", "tf": "keras", "pytorch": "torch", "flax": "jax", "lax": "jax"}


def dialect_named(name: str) -> str:
    """The dialect of this name, or of one of its aliases.

    Raises:
        InputError: There is no such dialect.

    Example:
        >>> dialect_named("PyTorch")
        'torch'
    """
    lower = _ALSO.get(name.lower(), name.lower())
    if lower not in _WINDOW:
        raise InputError(
            "the dialect must be a known one",
            f"{name!r}",
            f"known dialects: {', '.join(DIALECTS)}",
        )
    return lower


def default_stride(dialect: str, op: str, kernel: int) -> int:
    """The stride of a layer that names none: a pooling's kernel in Keras and PyTorch, else 1.

    Example:
        >>> default_stride("torch", "max_pool", 3), default_stride("onnx", "max_pool", 3)
        (3, 1)
    """
    own_kernel = dialect_named(dialect) in ("keras", "torch", "convscape")
    return kernel if own_kernel and operation(op).endswith("pool") else 1


def default_padding(dialect: str) -> Padding:
    """The padding of a layer that names none: nothing, in the dialect's own spelling."""
    return _DEFAULT_PADDING[dialect_named(dialect)]


def window(
    dialect: str,
    op: str,
    n: int,
    kernel: int,
    stride: int | None = None,
    padding: Padding | None = None,
    dilation: int = 1,
    *,
    ceil_mode: bool = False,
    output_padding: int | None = None,
    output_size: int | None = None,
) -> Window:
    """The window that really slides over one axis of a layer written for a framework.

    Args:
        dialect: "keras", "torch", "onnx" or "jax"; or "convscape", whose spelling has them all.
        op: "conv", "transposed", "max_pool" or "avg_pool".
        n: Input cells.
        kernel: Kernel cells.
        stride: Step; None is the framework's default.
        padding: As the framework spells it (a name, an int, a pair); None is no padding.
        dilation: Distance between kernel cells.
        ceil_mode: Round up (PyTorch and ONNX pooling); the high padding of the window returned is
            stretched as needed.
        output_padding: Of a transposed convolution, in the framework's own sense; None is not 0
            in Keras.
        output_size: Of an ONNX ConvTranspose, this axis of `output_shape`.

    Returns:
        The `Window`: `output(n)` is the size, `taps(o, n)` the cells. Of a transposed convolution
        it is the window over the spread input (`input_dilation` is the stride). Its output may be
        0: the caller knows which layer to blame.

    Raises:
        InputError: What the framework refuses, an unknown dialect or operation.

    Example:
        >>> window("keras", "conv", 224, 7, 2, "same").padding
        (2, 3)
        >>> window("torch", "transposed", 4, 3, 2, 1, output_padding=1).output(4)
        8
    """
    dialect = dialect_named(dialect)
    axis = Axis(
        operation(op),
        n,
        kernel,
        default_stride(dialect, op, kernel) if stride is None else stride,
        default_padding(dialect) if padding is None else padding,
        dilation,
        ceil_mode,
        output_padding,
        output_size,
    )
    return _WINDOW[dialect](axis)
