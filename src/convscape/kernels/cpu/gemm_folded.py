"""The strided input gradient of few channels: all phases at once, as the channels of one problem.

A stride s splits the input cells of an axis, padding counted, into s phases. Cell i = a s + b meets
kernel cell t s + b in output a - t, so the phases b of both axes are channels of a dense problem:

    dx[n, c, a s + b - low, ...] = Σ_{t, k} weight[k, c, t s + b, ...] dy[n, k, a - t, ...]

where kernel cells beyond the last are zero. Phase by phase, three channels leave 13 lanes of 16
idle; the four phases of stride 2 leave 4.

Source: W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
Sub-Pixel Convolutional Neural Network", arXiv 1609.05158 (the order of the channels).
"""

from functools import lru_cache
from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window
from convscape.kernels.cpu.copy import copy_run, copy_runs
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch

_SPLIT_FROM = 1 << 15  # elements, about 20 microseconds of one thread


@lru_cache(maxsize=1024)
def folded(geometry: Geometry, itemsize: int) -> Geometry | None:
    """The dense problem, or None where it would save less than a quarter of the multiplications.

    Its channels are (phase of h, phase of w, c); nothing is padded.
    """
    windows, channels = geometry.windows, geometry.in_channels
    if geometry.groups > 1 or any(w.dilation != 1 for w in windows):
        return None
    dense = tuple(Window(-(-w.kernel // w.stride)) for w in windows)
    phases, lanes = prod(w.stride for w in windows), SIMD.lanes(itemsize)
    together = prod(w.kernel for w in dense) * -(-phases * channels // lanes)
    apart = prod(geometry.kernel) * -(-channels // lanes)
    if 4 * together > 3 * apart:
        return None
    return Geometry(dense, phases * channels, geometry.out_channels)


def folded_weight(weight: Array, geometry: Geometry, dense: Geometry) -> Array:
    """Weights (K, C, R, S) as (K, phases C, R', S') of the dense problem."""
    k, c, _, _ = weight.shape
    down, across = (w.stride for w in geometry.windows)
    rows, columns = dense.kernel
    out = np.zeros((k, down, across, c, rows, columns), weight.dtype)
    for i in range(down):
        for j in range(across):
            cells = weight[:, :, i::down, j::across]
            out[:, i, j, :, : cells.shape[2], : cells.shape[3]] = cells
    return out.reshape(dense.weight_shape)


@team
def _unfold_part(part, parts, source, cells, stride, low, dx, steps, shape):
    """A share of dx's lines, from (n, h, w, phase of h, phase of w, c); what none reaches is 0."""
    if divide(part, parts):
        return
    n_size, c_size, h_size, w_size = shape
    sn, sc, sh, sw = steps
    width = stride[1] * c_size
    lines = n_size * h_size
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        n, h = divmod(line, h_size)
        a, b = divmod(h + low[0], stride[0])
        first, last = 0, 0
        if 0 <= a < cells[0]:
            first = min(w_size, max(0, -low[1]))
            last = max(first, min(w_size, cells[1] * stride[1] - low[1]))
        to = n * sn + h * sh
        for c in range(c_size):
            for w in range(first):
                dx[to + w * sw + c * sc] = 0
            for w in range(last, w_size):
                dx[to + w * sw + c * sc] = 0
        step = stride[0] * width
        begin = (n * cells[0] + a) * cells[1] * step + b * width
        w = first
        while w < last:
            # Neighbours in dx that are neighbours here too: the phases of w.
            cell, phase = divmod(w + low[1], stride[1])
            many = min(stride[1] - phase, last - w)
            at = begin + cell * step + phase * c_size
            if sc == 1 and sw == c_size:
                runs = (last - w) // stride[1] if phase == 0 else 0
                if runs > 0:
                    copy_runs(source, at, step, dx, to + w * sw, width, runs)
                    many = runs * stride[1]
                else:
                    copy_run(source, at, dx, to + w * sw, many * c_size)
            else:
                for p in range(many):
                    for c in range(c_size):
                        dx[to + (w + p) * sw + c * sc] = source[at + p * c_size + c]
            w += many


def unfold(source: Array, geometry: Geometry, dx: Array, threads: int) -> None:
    """Set dx from the dense problem's.

    Args:
        source: (N, phases C, H', W'), in channels-last memory.
        geometry: The convolution whose input gradient dx is.
        dx: (N, C, H, W).
        threads: Threads to use.
    """
    windows = geometry.windows
    memory, steps = flat(dx)
    launch(
        _unfold_part, threads if dx.size >= _SPLIT_FROM else 1,
        source.transpose(0, 2, 3, 1).reshape(-1), source.shape[2:],
        (windows[0].stride, windows[1].stride), (windows[0].padding[0], windows[1].padding[0]),
        memory, steps, dx.shape,
    )  # fmt: skip
