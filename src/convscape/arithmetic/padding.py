"""Padding names and ceil_mode become explicit (low, high) here, and nowhere else.

| name | padding | output |
|---|---|---|
| valid | none | floor((n - extent) / stride) + 1 |
| same | P = max((output - 1) stride + extent - n, 0), the odd cell high | ceil(n / stride) |
| same_lower | the same P, the odd cell low | ceil(n / stride) |
| half | floor(extent / 2) on both sides | n at stride 1 and odd extent |
| full | extent - 1 on both sides | n + extent - 1 at stride 1 |
| causal | extent - 1 at the low end | ceil(n / stride) |

`same` at stride 1 and `half` with an odd kernel are the same padding, which is why the two names
are often used for one another; with a stride, or an even kernel, they differ.
"""

from operator import index

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.window import Window

PADDING_NAMES = ("valid", "same", "same_lower", "half", "full", "causal")

Padding = str | int | tuple[int, int]
"""Padding of one axis: a name, one number for both ends, or a (low, high) pair."""


def resolve(padding: Padding, n: int, kernel: int, stride: int = 1, dilation: int = 1) -> Window:
    """The window of one axis with its padding spelled out.

    Args:
        padding: A name of `PADDING_NAMES`, an int for both ends, or a (low, high) pair.
        n: Input cells; only `same` and `same_lower` depend on it.
        kernel: Kernel cells.
        stride: Step of the window.
        dilation: Distance between kernel cells.

    Returns:
        The `Window`.

    Raises:
        InputError: An unknown name, a negative number, or an impossible window.

    Source: TensorFlow's rules for `same`; arXiv 1603.07285, sections 2.1 to 2.3, for half and full.

    Example:
        >>> resolve("same", n=224, kernel=7, stride=2).padding
        (2, 3)
    """
    bare = Window(kernel, stride, dilation)  # validates before anything is derived from it
    extent = bare.extent
    if isinstance(padding, str):
        match padding.lower():
            case "valid":
                pair = (0, 0)
            case "same" | "same_lower" as name:
                n = known_size(n)
                total = max((-(-n // stride) - 1) * stride + extent - n, 0)
                small, large = total // 2, total - total // 2
                pair = (small, large) if name == "same" else (large, small)
            case "half":
                pair = (extent // 2, extent // 2)
            case "full":
                pair = (extent - 1, extent - 1)
            case "causal":
                pair = (extent - 1, 0)
            case _:
                raise InputError(
                    "padding must be a known name, an integer or a (low, high) pair",
                    f"padding={padding!r}",
                    f"known names: {', '.join(PADDING_NAMES)}",
                )
    else:
        pair = (padding, padding) if isinstance(padding, int) else padding
    window = Window(kernel, stride, dilation, 1, pair)
    if min(window.padding) < 0:
        raise InputError(
            "padding must not be negative",
            f"padding={padding!r}",
            "crop the input before the layer",
        )
    return window


def ceiled(window: Window, n: int) -> Window:
    """The window that pooling with `ceil_mode` really slides: its high padding is stretched.

    ceil(room / stride) + 1 windows, less the last when it would start beyond the input and its
    low padding: the last window must read at least one cell that is not high padding.

    Args:
        window: The window as configured.
        n: Input cells.

    Returns:
        The window with the high padding that the rounded-up size needs; the same window when
        rounding changes nothing. The stretch (the overhang) never counts in an average's divisor,
        so callers keep the configured padding beside it.

    Source: the definition of `torch.nn.MaxPool2d`, note on ceil_mode.

    Example:
        >>> ceiled(Window(2, stride=2), n=5)
        Window(kernel=2, stride=2, dilation=1, input_dilation=1, padding=(0, 1))
    """
    room = window.room(n)
    if n <= 0 or room + window.stride <= 0:
        return window
    low, high = window.padding
    windows = -(-room // window.stride) + 1
    spread = (n - 1) * window.input_dilation + 1
    if (windows - 1) * window.stride >= spread + low:
        windows -= 1
    missing = (windows - 1) * window.stride - room
    if missing <= 0:
        return window
    return Window(
        window.kernel, window.stride, window.dilation, window.input_dilation, (low, high + missing)
    )


def known_size(n: object) -> int:
    """An input size as an integer.

    Raises:
        InputError: It is None, or no integer: then `same` and `ceil_mode` are ambiguous.

    Example:
        >>> known_size(224)
        224
    """
    try:
        return int(index(n))  # type: ignore[arg-type]
    except TypeError:
        raise InputError(
            "the input size must be a known integer: same padding and ceil_mode depend on it",
            f"n={n!r}",
            "give the number of input cells",
        ) from None
