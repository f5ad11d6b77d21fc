"""ONNX: how it spells and rounds a window (the current operators; see docs/dialects.md).

`pads` gives each end its own number; `auto_pad` is VALID, SAME_UPPER (the odd cell at the end) or
SAME_LOWER (at the start). Strides default to 1, of pooling too. Where the standard's text, its
shape inference and its runtimes disagree, this follows ONNX Runtime.

Source: onnx 1.23, `docs/Operators.md` and `onnx/defs/nn/defs.cc`; ONNX Runtime 1.32,
`core/providers/common.h` and `core/providers/cpu/nn`.
"""

from collections.abc import Sequence

from convscape.arithmetic.dialects.axis import Axis, pair, unknown_name
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import Padding, ceiled, resolve
from convscape.arithmetic.window import Window, transposed_window

NAMES = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def padding_of(auto_pad: str, pads: Sequence[int] | None, rank: int) -> tuple[Padding, ...]:
    """The padding of each axis from a node's two attributes.

    Args:
        auto_pad: The attribute, "NOTSET" when absent.
        pads: The attribute, begins then ends; None or empty when absent.
        rank: Number of spatial axes.

    Raises:
        InputError: Both say something, or pads does not have two numbers an axis.

    Example:
        >>> padding_of("NOTSET", [0, 1, 2, 3], rank=2)
        ((0, 2), (1, 3))
    """
    if auto_pad not in ("", "NOTSET"):
        if pads and any(pads):
            raise InputError(
                "pads and auto_pad must not both be set",
                f"pads={list(pads)}, auto_pad={auto_pad}",
                "remove one of them",
            )
        return (auto_pad,) * rank
    if not pads:
        return (0,) * rank
    if len(pads) != 2 * rank:
        raise InputError(
            "pads must have two numbers an axis, all begins and then all ends",
            f"pads={list(pads)} for {rank} axes",
            f"give {2 * rank} numbers",
        )
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def window(axis: Axis) -> Window:
    """The window of one axis of an ONNX node, as ONNX Runtime runs it.

    Raises:
        InputError: An unknown auto_pad, or what ONNX Runtime refuses: SAME with dilation, pooling
            padding of the kernel or more.
    """
    same = False
    padding = axis.padding
    if isinstance(padding, str):
        if padding not in NAMES:
            fix = "write SAME_UPPER or SAME_LOWER" if padding.lower() == "same" else ""
            raise unknown_name("ONNX", axis, NAMES, fix)
        same = padding.startswith("SAME")
        if not same:
            padding = 0
    if axis.operation == "transposed":
        return _transposed(axis, str(padding) if same else "", padding)
    if same and axis.dilation > 1:
        raise InputError(
            "ONNX Runtime refuses auto_pad SAME with dilation",
            f"auto_pad={padding}, dilations={axis.dilation}",
            "write pads out",
        )
    if isinstance(padding, str):
        missing = (-(-axis.n // axis.stride) - 1) * axis.stride + axis.extent - axis.n
        if axis.operation == "max_pool" and missing < 0:
            raise InputError(
                "ONNX Runtime refuses MaxPool with auto_pad SAME where windows leave cells out",
                f"i={axis.n}, kernel_shape={axis.kernel}, strides={axis.stride}",
                "use auto_pad VALID or pads",
            )
        name = "same" if padding == "SAME_UPPER" else "same_lower"
        plain = resolve(name, axis.n, axis.kernel, axis.stride, axis.dilation)
    else:
        plain = Window(axis.kernel, axis.stride, axis.dilation, 1, pair(padding))
    if axis.pooling and max(plain.padding) >= axis.kernel:
        raise InputError(
            "ONNX Runtime needs pooling pads below the kernel",
            f"pads={plain.padding}, kernel_shape={axis.kernel}",
            f"use at most {axis.kernel - 1}, or a Pad node before",
        )
    return ceiled(plain, axis.n) if axis.ceil_mode else plain


def _transposed(axis: Axis, same: str, padding: Padding) -> Window:
    extra = axis.output_padding or 0
    if extra >= axis.stride and extra:
        raise InputError(
            "ONNX Runtime needs output_padding below the stride",
            f"output_padding={extra}, strides={axis.stride}",
            f"use at most {axis.stride - 1}",
        )
    full = (axis.n - 1) * axis.stride + axis.extent + extra
    if not same and axis.output_size is None:
        assert not isinstance(padding, str)
        return transposed_window(axis.kernel, axis.stride, axis.dilation, pair(padding), extra)
    target = axis.n * axis.stride if axis.output_size is None else axis.output_size
    total = full - target
    if total < 0 and axis.output_size is not None:
        extra -= total  # the size is reached with more cells at the end
        if extra >= axis.stride:
            raise InputError(
                "ONNX Runtime reaches an output_shape only by adding less than a stride",
                f"output_shape={target}, at most {full} without adding",
                f"use at most {full + axis.stride - 1 - (axis.output_padding or 0)}",
            )
    total = max(total, 0)
    small, large = total // 2, total - total // 2
    crops = (small, large) if same == "SAME_UPPER" else (large, small)
    return transposed_window(axis.kernel, axis.stride, axis.dilation, crops, extra)
