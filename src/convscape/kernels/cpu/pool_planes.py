"""What pooling's kernels share: planes of memory, and which outputs a kernel cell serves.

A plane is an image in channels-last memory, whose `run` is the number of channels, or one channel
of an image in plain memory, whose `run` is 1. The inner loops go over neighbours in memory.
"""

from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window
from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.layout import Array

Axis = tuple[int, int, int, int, int, int]
"""(kernel, stride, dilation, low padding, input cells, output cells)."""


@kernel
def span(tap, axis):
    """The outputs [first, last) whose kernel cell `tap` meets a real cell."""
    _, stride, dilation, low, n, m = axis
    shift = low - tap * dilation
    first = max(0, -((-shift) // stride))
    last = min(m, (n - 1 + shift) // stride + 1)
    return first, max(first, last)


def in_line(x: Array, last: bool) -> Array:
    """An array's memory as one dimension, in channels-last or plain order; copied if need be."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if last else x).reshape(-1)


def sizes(shape: tuple[int, ...], geometry: Geometry, last: bool) -> tuple[Any, ...]:
    """Planes, run and both axes of an input of this shape."""
    n, c, h, w = shape
    planes, run = (n, c) if last else (n * c, 1)
    return planes, run, _axis(geometry.windows[0], h), _axis(geometry.windows[1], w)


def _axis(w: Window, n: int) -> Axis:
    return w.kernel, w.stride, w.dilation, w.padding[0], n, w.output(n)
