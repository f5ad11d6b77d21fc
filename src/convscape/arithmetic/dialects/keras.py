"""Keras 3 (TensorFlow's rules): how it spells and rounds a window.

`valid` and `same` (the odd cell at the end) everywhere, `causal` in Conv1D; numbers nowhere.
Strides of a pooling default to the pool size. A transposed convolution's `output_padding=None`
means "reach i * s (same), or (i - 1) s + max(extent, s) (valid)", which no number means.

Source: Keras 3.15, `backend/common/backend_utils.py`, `layers/convolutional/base_conv.py` and
`base_conv_transpose.py`, `layers/pooling/base_pooling.py`.
"""

from convscape.arithmetic.dialects.axis import Axis, unknown_name
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import resolve
from convscape.arithmetic.window import Window

NAMES = ("valid", "same", "causal")


def window(axis: Axis) -> Window:
    """The window of one axis of a Keras layer.

    Raises:
        InputError: Padding in numbers, stride together with dilation, dilated or ceiled pooling,
            output_padding of the stride or more.
    """
    if axis.ceil_mode:
        raise InputError("Keras pooling has no ceil_mode", "ceil_mode=True", 'use padding="same"')
    if axis.pooling and axis.dilation > 1:
        raise InputError(
            "Keras pooling has no dilation", f"dilation={axis.dilation}", "use dilation=1"
        )
    if axis.stride > 1 and axis.dilation > 1:
        raise InputError(
            "Keras refuses strides above 1 together with dilation above 1",
            f"strides={axis.stride}, dilation_rate={axis.dilation}",
            "set one of them to 1",
        )
    name = axis.padding.lower() if isinstance(axis.padding, str) else None
    if name is None:
        if axis.padding not in (0, (0, 0)):
            raise InputError(
                "Keras takes padding by name only",
                f"padding={axis.padding!r}",
                'put a ZeroPadding layer before a layer with padding="valid"',
            )
        name = "valid"
    if name not in (NAMES if axis.operation == "conv" else NAMES[:2]):
        raise unknown_name("Keras", axis, NAMES if axis.operation == "conv" else NAMES[:2])
    if axis.operation == "transposed":
        return _transposed(axis, name)
    return resolve(name, axis.n, axis.kernel, axis.stride, axis.dilation)


def _transposed(axis: Axis, name: str) -> Window:
    extent, stride, extra = axis.extent, axis.stride, axis.output_padding
    if axis.output_size is not None:
        raise InputError(
            "only ONNX reaches for an output size", f"{axis.output_size}", "use output_padding"
        )
    if extra is not None and extra >= stride:
        raise InputError(
            "Keras needs output_padding below the stride",
            f"output_padding={extra}, strides={stride}",
            f"use at most {stride - 1}",
        )
    if name == "valid":
        low = extent - 1
        high = extent - 1 + (max(stride - extent, 0) if extra is None else extra)
    else:
        total = stride + extent - 2 if extra is None else extent + extent % 2 - 2 + extra
        low = min(total // 2 + total % 2, extent - 1)
        high = total - low
    return Window(axis.kernel, 1, axis.dilation, stride, (low, high))
