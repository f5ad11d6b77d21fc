"""This package's own spelling: every padding name and number of `arithmetic.padding`, anywhere.

A transposed convolution is written, as in the guide, with the kernel, stride and padding of the
convolution that it transposes, and with output_padding at the high end.
"""

from convscape.arithmetic.dialects.axis import Axis, pair
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import ceiled, resolve
from convscape.arithmetic.window import Window, transposed_window


def window(axis: Axis) -> Window:
    """The window of one axis in this package's own vocabulary.

    Raises:
        InputError: An unknown name, or `same` of a transposed convolution, which frameworks place
            differently.
    """
    if axis.output_size is not None:
        raise InputError(
            "only ONNX reaches for an output size", f"{axis.output_size}", "use output_padding"
        )
    if axis.operation != "transposed":
        plain = resolve(axis.padding, axis.n, axis.kernel, axis.stride, axis.dilation)
        return ceiled(plain, axis.n) if axis.ceil_mode else plain
    padding = axis.padding
    if isinstance(padding, str):
        if padding.lower() in ("same", "same_lower"):
            raise InputError(
                "frameworks place `same` of a transposed convolution differently",
                f"padding={padding!r} without a dialect",
                "name a dialect (keras, onnx, jax), or give the padding in numbers",
            )
        padding = resolve(padding, axis.n, axis.kernel, 1, axis.dilation).padding
    return transposed_window(
        axis.kernel, axis.stride, axis.dilation, pair(padding), axis.output_padding or 0
    )
