"""How much a figure can show, and what it refuses before a number is made."""

from collections.abc import Sequence
from math import prod

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.window import Window

MAX_SIDE = 40
"""Most positions of a padded axis that a figure draws."""

MAX_CELLS = 4096
"""Most cells, of all maps together, that a figure draws."""


def places(window: Window, n: int) -> range:
    """Every position of a padded axis: from the low padding to the high, crops included.

    Example:
        >>> places(Window(3, padding=(1, 0)), 4)
        range(-1, 4)
    """
    low, high = (max(0, p) for p in window.padding)
    return range(-low, (n - 1) * window.input_dilation + 1 + high)


def check_drawable(
    windows: Sequence[Window], spatial: Sequence[int], channels: int, out_channels: int
) -> None:
    """Refuse what no figure can show, before any number is made.

    Raises:
        InputError: An empty output, or more cells than the limits `MAX_SIDE` and `MAX_CELLS`.
    """
    outputs = []
    sides = []
    for axis, (w, n) in enumerate(zip(windows, spatial, strict=True)):
        if n < 1 or w.output(n) == 0:
            raise InputError(
                "the window must fit the padded input on every axis",
                f"axis {axis}: extent {w.extent} on {n} cells padded by {w.padding}",
                "pad more, or use a smaller kernel or dilation",
            )
        outputs.append(w.output(n))
        span = places(w, n)
        sides.append(span.stop - span.start)  # len() of a range has a limit, sizes have none
        if max(outputs[-1], sides[-1], w.kernel) > MAX_SIDE:
            raise InputError(
                f"a figure draws at most {MAX_SIDE} cells a side, padding and spreading included",
                f"{sides[-1]} in, {outputs[-1]} out, kernel {w.kernel} on axis {axis}",
                "draw a smaller input; the windows repeat",
            )
    cells = channels * prod(sides) + out_channels * prod(outputs)
    if cells > MAX_CELLS:
        raise InputError(
            f"a figure draws at most {MAX_CELLS} cells",
            f"{cells} with {channels} channels in and {out_channels} out",
            "draw fewer channels or a smaller input",
        )
