"""Depthwise convolution: every channel has its own kernel, so the loops run over channels.

    y[n, c, h, w] = bias[c] + Σ_{r, s} weight[c, r, s] x[n, c, h stride - low + r dilation, ...]

There is one multiply-add per value read: memory is the limit, not arithmetic. Channels-last, with
the input padded once; a run of channels of one pixel is one vector loop.

Source: the operation: F. Chollet, "Xception", arXiv 1610.02357; adjoint windows: V. Dumoulin and
F. Visin, arXiv 1603.07285, section 4.
"""

import numpy as np
from numba import prange

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, empty, is_channels_last, padded
from convscape.kernels.cpu.threads import launch


@kernel
def _forward_part(part, parts, x, steps, tap_steps, weight, taps, bias, out, grid):
    """Weight is (r, s, c); `out` is (n, h, w, c)."""
    n_size, h_size, w_size, channels = grid
    r_size, s_size = taps
    lines = n_size * h_size
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        n, h = divmod(line, h_size)
        for w in range(w_size):
            at = (line * w_size + w) * channels
            total = out[at : at + channels]
            total[:] = bias
            origin = n * steps[0] + h * steps[1] + w * steps[2]
            for r in range(r_size):
                for s in range(s_size):
                    start = origin + r * tap_steps[0] + s * tap_steps[1]
                    source = x[start : start + channels]
                    number = (r * s_size + s) * channels
                    by = weight[number : number + channels]
                    for c in range(channels):
                        total[c] += by[c] * source[c]


@team
def _forward_team(parts, x, steps, tap_steps, weight, taps, bias, out, grid):
    for part in prange(parts):
        _forward_part(np.int64(part), parts, x, steps, tap_steps, weight, taps, bias, out, grid)


@kernel
def _input_part(part, parts, dy, weight, dx, height, width, shape):
    """Each input line gathers from the output lines that read it."""
    n_size, channels = shape
    (r_size, h_stride, h_dilation, top, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    lines = n_size * h_size
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        n, h = divmod(line, h_size)
        dx[line * w_size * channels : (line + 1) * w_size * channels] = 0
        for r in range(r_size):
            o, off = divmod(h + top - r * h_dilation, h_stride)
            if off != 0 or o < 0 or o >= h_out:
                continue
            for s in range(s_size):
                by = weight[(r * s_size + s) * channels : (r * s_size + s + 1) * channels]
                for w in range(w_out):
                    column = w * w_stride - left + s * w_dilation
                    if column < 0 or column >= w_size:
                        continue
                    to = (line * w_size + column) * channels
                    source = ((n * h_out + o) * w_out + w) * channels
                    total, given = dx[to : to + channels], dy[source : source + channels]
                    for c in range(channels):
                        total[c] += by[c] * given[c]


@team
def _input_team(parts, dy, weight, dx, height, width, shape):
    for part in prange(parts):
        _input_part(np.int64(part), parts, dy, weight, dx, height, width, shape)


@kernel
def _weight_part(part, parts, x, steps, tap_steps, dy, taps, slabs, grid):
    """Each share of the pixels sums into its own slab (r, s, c)."""
    n_size, h_size, w_size, channels = grid
    r_size, s_size = taps
    slab = slabs[part]
    slab[:] = 0
    lines = n_size * h_size
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        n, h = divmod(line, h_size)
        for r in range(r_size):
            for s in range(s_size):
                number = (r * s_size + s) * channels
                total = slab[number : number + channels]
                origin = n * steps[0] + h * steps[1] + r * tap_steps[0] + s * tap_steps[1]
                for w in range(w_size):
                    start = origin + w * steps[2]
                    at = (line * w_size + w) * channels
                    source, given = x[start : start + channels], dy[at : at + channels]
                    for c in range(channels):
                        total[c] += given[c] * source[c]


@team
def _weight_team(parts, x, steps, tap_steps, dy, taps, slabs, grid):
    for part in prange(parts):
        _weight_part(np.int64(part), parts, x, steps, tap_steps, dy, taps, slabs, grid)


def forward(x: Array, weight: Array, bias: Array | None, geometry: Geometry, threads: int) -> Array:
    """The convolution; arguments and result as in `convscape.kernels.cpu.gemm.forward`."""
    n, channels, *spatial = x.shape
    _, *outputs = geometry.output_shape(spatial)
    y = empty((n, channels, *outputs), x.dtype, channels_last=True)
    if y.size:
        memory, steps, tap_steps = _input(x, geometry, threads)
        out = y.transpose(0, 2, 3, 1)
        launch(
            _forward_part, _forward_team, threads,
            memory, steps, tap_steps, _cells(weight), geometry.kernel,
            np.zeros(channels, x.dtype) if bias is None else np.ascontiguousarray(bias),
            out.reshape(-1), out.shape,
        )  # fmt: skip
    return y if is_channels_last(x) else np.ascontiguousarray(y)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`."""
    n, channels = dy.shape[:2]
    dx = empty((n, channels, *spatial), dy.dtype, channels_last=True)
    if dx.size:
        memory, _ = padded(dy, ((0, 0), (0, 0)), threads)
        height, width = (
            (w.kernel, w.stride, w.dilation, w.padding[0], size, w.output(size))
            for w, size in zip(geometry.windows, spatial, strict=True)
        )
        launch(
            _input_part, _input_team, threads,
            memory, _cells(weight), dx.transpose(0, 2, 3, 1).reshape(-1),
            height, width, (n, channels),
        )  # fmt: skip
    return dx if is_channels_last(dy) else np.ascontiguousarray(dx)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as in `convscape.kernels.cpu.gemm.weight_grad`."""
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    memory, steps, tap_steps = _input(x, geometry, threads)
    given, _ = padded(dy, ((0, 0), (0, 0)), threads)
    n, channels, *outputs = dy.shape
    r, s = geometry.kernel
    slabs = np.zeros((max(threads, 1), r * s * channels), x.dtype)
    launch(
        _weight_part, _weight_team, threads,
        memory, steps, tap_steps, given, (r, s), slabs, (n, *outputs, channels),
    )  # fmt: skip
    return np.ascontiguousarray(slabs.sum(0).reshape(r, s, channels).transpose(2, 0, 1)[:, None])


def _input(
    x: Array, geometry: Geometry, threads: int
) -> tuple[Array, tuple[int, int, int], tuple[int, int]]:
    """The padded input, its steps an output pixel (n, h, w), and its steps a kernel cell."""
    h, w = geometry.windows
    memory, (sn, sh, sw) = padded(x, (h.padding, w.padding), threads)
    return memory, (sn, sh * h.stride, sw * w.stride), (sh * h.dilation, sw * w.dilation)


def _cells(weight: Array) -> Array:
    """(C, 1, R, S) as flat (r, s, c)."""
    return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0)).reshape(-1)
