"""JAX: `jax.lax` convolutions, and pooling as Flax writes it with `lax.reduce_window`.

SAME (the odd cell at the end), SAME_LOWER, VALID, or a pair of numbers for each axis; a negative
number crops. Flax adds CAUSAL for one axis. Pooling's strides default to 1. A transposed
convolution's names count as in Keras, but its numbers pad the spread input (what
`use_consistent_padding=False`, the default, means).

Source: jax 0.10, `lax/convolution.py` (`_conv_transpose_padding`) and `lax.padtype_to_pads`;
`flax.linen.pooling`.
"""

from convscape.arithmetic.dialects.axis import Axis, pair, unknown_name
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import resolve
from convscape.arithmetic.window import Window

NAMES = ("SAME", "SAME_LOWER", "VALID", "CAUSAL")


def window(axis: Axis) -> Window:
    """The window of one axis of a JAX operation.

    Raises:
        InputError: An unknown name, ceil_mode, output_padding.
    """
    if axis.ceil_mode:
        raise InputError("JAX has no ceil_mode", "ceil_mode=True", "write the padding in numbers")
    if axis.output_padding is not None or axis.output_size is not None:
        raise InputError(
            "JAX has no output_padding",
            f"output_padding={axis.output_padding}",
            "write the padding of the spread input in numbers",
        )
    if not isinstance(axis.padding, str):
        spread = axis.stride if axis.operation == "transposed" else 1
        stride = 1 if axis.operation == "transposed" else axis.stride
        pads = pair(axis.padding, crop=not axis.pooling)
        return Window(axis.kernel, stride, axis.dilation, spread, pads)
    name = axis.padding.upper()
    known: tuple[str, ...] = NAMES if axis.operation == "conv" else NAMES[:3]
    if axis.operation == "transposed" and axis.stride > 1:
        known = ("SAME", "VALID")
    if name not in known:
        raise unknown_name("JAX", axis, known)
    if axis.operation == "transposed" and name != "SAME_LOWER":
        return _transposed(axis, name)
    return resolve(name.lower(), axis.n, axis.kernel, axis.stride, axis.dilation)


def _transposed(axis: Axis, name: str) -> Window:
    extent, stride = axis.extent, axis.stride
    if name == "SAME":
        total = extent + stride - 2
        low = extent - 1 if stride > extent - 1 else -(-total // 2)
    else:
        total = extent + stride - 2 + max(extent - stride, 0)
        low = extent - 1
    return Window(axis.kernel, 1, axis.dilation, stride, (low, total - low))
