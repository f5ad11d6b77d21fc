"""The input gradient of a strided convolution as dense problems, one a phase.

A stride s splits the input cells of an axis into s phases. Cell phase + i s meets every kernel cell
that reaches it at a fixed offset from output cell i, so each phase is a convolution at stride 1,
and no zero is ever multiplied.

Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 4.5, without its inserted zeros.
"""

from dataclasses import dataclass
from math import gcd

from convscape.arithmetic.window import Window


@dataclass(frozen=True, slots=True)
class Phase:
    """The pixels phase, phase + stride, ... of the forward input along one axis.

    Input cell phase + i stride meets kernel cells `first`, first + `every`, ... (`taps` of them),
    the first at output cell i + `start`, each next one `back` cells earlier.
    """

    first: int
    every: int
    taps: int
    start: int
    back: int
    count: int


def phase_of(window: Window, phase: int, size: int) -> Phase:
    """One phase of an axis of `size` input cells."""
    # Cell i meets kernel cell r in output o when o stride = i + low - r dilation.
    stride, dilation = window.stride, window.dilation
    common = gcd(stride, dilation)
    every, back = stride // common, dilation // common
    count = -(-(size - phase) // stride)
    reach = phase + window.padding[0]
    for first in range(min(every, window.kernel)):
        start, off = divmod(reach - first * dilation, stride)
        if off == 0:
            taps = -(-(window.kernel - first) // every)
            return Phase(first, every, taps, start, back, count)
    return Phase(0, 1, 0, 0, 0, count)


def reach(phases: list[Phase], outputs: int) -> tuple[int, int]:
    """Zeros that dy needs before and after, so that every phase reads inside."""
    met = [p for p in phases if p.taps]
    low = max((p.back * (p.taps - 1) - p.start for p in met), default=0)
    high = max((p.start + p.count - outputs for p in met), default=0)
    return max(0, low), max(0, high)
