"""PyTorch: how it spells and rounds a window.

One number an axis for both ends; `same` (stride 1 only, the odd cell at the end) and `valid` for
convolutions. Pooling's stride defaults to its kernel; `ceil_mode` drops a last window that would
begin in the high padding. A transposed convolution is cropped by `padding` at both ends and
extended by `output_padding` at the end.

Source: the notes of `torch.nn.Conv2d`, `MaxPool2d`, `AvgPool2d` and `ConvTranspose2d`;
`aten/src/ATen/native/Pool.h`.
"""

from convscape.arithmetic.dialects.axis import Axis, pair, unknown_name
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import ceiled, resolve
from convscape.arithmetic.window import Window, transposed_window

NAMES = ("valid", "same")


def window(axis: Axis) -> Window:
    """The window of one axis of a PyTorch layer.

    Raises:
        InputError: Different numbers at both ends, `same` with a stride, more pooling padding
            than half the kernel, dilated average pooling, too large an output_padding.
    """
    if isinstance(axis.padding, str):
        return _named(axis)
    low, high = pair(axis.padding)
    if low != high:
        raise InputError(
            "PyTorch pads both ends of an axis alike",
            f"padding={axis.padding!r}",
            "pad with torch.nn.functional.pad before the layer",
        )
    if axis.operation == "transposed":
        return _transposed(axis, low)
    if axis.operation == "avg_pool" and axis.dilation > 1:
        raise InputError(
            "PyTorch's average pooling has no dilation",
            f"dilation={axis.dilation}",
            "use dilation=1",
        )
    if axis.pooling and low > axis.kernel // 2:
        raise InputError(
            "PyTorch pads a pooling by at most half of its kernel",
            f"padding={low}, kernel={axis.kernel}",
            f"use at most {axis.kernel // 2}, or pad before the layer",
        )
    plain = Window(axis.kernel, axis.stride, axis.dilation, 1, (low, high))
    return ceiled(plain, axis.n) if axis.ceil_mode else plain


def _named(axis: Axis) -> Window:
    name = str(axis.padding)
    if axis.operation != "conv" or name not in NAMES:
        raise unknown_name(
            "PyTorch", axis, (*NAMES, "numbers") if axis.operation == "conv" else ("numbers",)
        )
    if name == "same" and axis.stride > 1:
        raise InputError(
            'PyTorch has padding="same" at stride 1 only',
            f"stride={axis.stride}",
            "pad with torch.nn.functional.pad before the layer",
        )
    return resolve(name, axis.n, axis.kernel, axis.stride, axis.dilation)


def _transposed(axis: Axis, padding: int) -> Window:
    extra = axis.output_padding or 0
    if axis.output_size is not None:
        raise InputError(
            "only ONNX reaches for an output size", f"{axis.output_size}", "use output_padding"
        )
    check_output_padding(extra, axis.stride, axis.dilation)
    return transposed_window(axis.kernel, axis.stride, axis.dilation, (padding, padding), extra)


def check_output_padding(extra: int, stride: int, dilation: int) -> None:
    """Refuse an output_padding that PyTorch refuses.

    Raises:
        InputError: It is neither below the stride nor below the dilation.
    """
    if extra and extra >= max(stride, dilation):
        raise InputError(
            "PyTorch needs output_padding below the stride or the dilation",
            f"output_padding={extra}, stride={stride}, dilation={dilation}",
            f"use at most {max(stride, dilation) - 1}",
        )
