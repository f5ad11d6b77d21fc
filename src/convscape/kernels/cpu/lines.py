"""An image's lines as kernels with lanes along them read: padded, and a stride's phases apart.

A stride s splits the cells of a line, padding counted, into s phases. Output w meets kernel cell v
in cell w s + v dilation, which is number w + (v dilation) div s of phase (v dilation) mod s: in
each phase the outputs' cells are neighbours. Lines lie as [h][c][phase][cell], and a kernel cell
(c, r, v) is a distance from the first cell that an output line meets.
"""

from functools import lru_cache

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.copy import copy_every_other, copy_run
from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.layout import Array


def fills(width: int, lanes: int) -> bool:
    """Whether a line of this many pixels leaves at most a fifth of its vectors' lanes idle."""
    return 4 * -(-width // lanes) * lanes <= 5 * width


@lru_cache(maxsize=1024)
def arrange(
    geometry: Geometry, spatial: tuple[int, int], lanes: int
) -> tuple[tuple[int, int, int, int, int, int, int], Array, Array]:
    """How the lines of an image are laid out for a convolution.

    Args:
        geometry: The convolution.
        spatial: (H, W) of its input.
        lanes: Of a vector; whole ones may be read from any output's cell on.

    Returns:
        (low padding of h, that of w, stride of h, that of w, lines of h that an output line meets,
        elements of a phase's line, of a line with all its channels and phases); the phases that
        some kernel cell meets; each kernel cell's distance, in the order (c, r, s).
    """
    height, width = geometry.windows
    outputs = width.output(spatial[1])
    along = np.arange(width.kernel) * width.dilation
    phases, number = np.unique(along % width.stride, return_inverse=True)
    cells = -(-outputs // lanes) * lanes + int(along[-1]) // width.stride
    length = -(-cells // lanes) * lanes
    step = geometry.in_channels * len(phases) * length
    distances = (
        np.arange(geometry.in_channels)[:, None, None] * (len(phases) * length)
        + (np.arange(height.kernel) * (height.dilation * step))[:, None]
        + number * length
        + along // width.stride
    )
    met = 1 + (height.kernel - 1) * height.dilation
    plan = height.padding[0], width.padding[0], height.stride, width.stride, met, length, step
    return plan, phases, distances.reshape(-1)


@kernel
def lay_out(x, strides, shape, image, plan, phases, first, many, lines):
    """Set lines to `many` lines of an image's cells from line `first`, padding counted, on."""
    c_size, h_size, w_size = shape
    sn, sc, sh, sw = strides
    top, left, _, stride, _, length, _ = plan
    for i in range(many):
        h = first + i - top
        for c in range(c_size):
            for p in range(len(phases)):
                to = ((i * c_size + c) * len(phases) + p) * length
                if h < 0 or h >= h_size:
                    lines[to : to + length] = 0
                    continue
                # Cell m is number m stride + shift of the line without padding.
                shift = phases[p] - left
                low = min(length, max(0, -(shift // stride)))
                high = max(low, min(length, (w_size - 1 - shift) // stride + 1))
                lines[to : to + low] = 0
                lines[to + high : to + length] = 0
                at = image * sn + c * sc + h * sh + (low * stride + shift) * sw
                to, step = to + low, stride * sw
                if step == 1:
                    copy_run(x, at, lines, to, high - low)
                elif step == 2:
                    copy_every_other(x, at, lines, to, high - low)
                else:
                    for m in range(high - low):
                        lines[to + m] = x[at + m * step]
