"""Convolution as an implicit matrix product on the register tile; no patch matrix is built.

    y[n, k, h, w] = bias[k] + Σ_{r, s, c} weight[k, c, r, s] x[n, c, h', w'],
    h' = h stride - low + r dilation, and w' alike

The input is laid out channels-last with its padding, once. Then an output pixel is an address, a
row of the kernel is one run of products (r fixed, s and c inside), and three problems are one loop:

- forward: rows are output pixels;
- input gradient: the adjoint window. A stride s splits the pixels of dx into s phases, and each
  phase is a forward problem over the kernel cells that reach it: zeros are never multiplied;
- weight gradient (`gemm_weight`): rows are the (r, s, c) of the weights, and the sum runs over
  pixels.

Any stride, asymmetric padding, dilation and groups; float32 and float64.

Source: K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS
34(3), 2008; M. Dukhan, "The Indirect Convolution Algorithm", arXiv 1907.02129; adjoint windows:
V. Dumoulin and F. Visin, arXiv 1603.07285, section 4.
"""

from math import prod

import numpy as np
from numba import prange

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.gemm_pointwise import pointwise
from convscape.kernels.cpu.gemm_weight import weight_grad
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, empty, flat, is_channels_last, padded
from convscape.kernels.cpu.phases import phase_of, reach
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.transpose import transpose, transpose_narrow

__all__ = ["forward", "input_grad", "weight_grad"]

_DEPTH = 192  # products of one piece of a sum: its weights (48 KiB at the widest) stay close
_FEW = 4 * ROWS  # pixels of one chunk: 6 KiB of tiles
_PIXELS = 32 * ROWS  # the same where a sum has pieces: the tiles stay in L2 while they pass by

_SMALL = 256  # pixels of a map whose border is worth a look
_RUN = 16  # input channels whose weights are turned at once

# --- the kernels -------------------------------------------------------------------------------


@kernel
def _copy_vector(source, out):
    for j in range(len(out)):
        out[j] = source[j]


@kernel
def _pack_part(part, parts, weight, strides, shape, lanes, packed):
    """Weights as [group][block of output channels][r][s][c][lane], with zeros at the edge."""
    groups, k_size, c_size, r_size, s_size = shape
    sg, sk, sc, sr, ss = strides
    taps = r_size * s_size
    c_low, c_high = c_size * part // parts, c_size * (part + 1) // parts
    # PyTorch's orders of axes are turned in blocks, Keras's has the lanes side by side already.
    whole = sr == s_size * ss and ss == 1
    block = np.zeros(_RUN * taps * WIDEST * lanes, weight.dtype)
    scratch = np.empty(lanes * lanes, weight.dtype)
    at = 0
    for g in range(groups):
        k0 = 0
        while k0 < k_size:
            width = block_vectors(k_size - k0, lanes) * lanes
            real = min(width, k_size - k0)
            for first in range(c_low, c_high, _RUN):
                run = min(_RUN, c_high - first)
                source = g * sg + k0 * sk + first * sc
                turned = whole and (sc == taps or sk == taps) and sk != 1
                if turned and sc == taps:
                    transpose(weight, source, sk, real, run * taps, block, 0, width)
                elif turned:
                    for c in range(run):
                        transpose_narrow(
                            weight, source + c * sc, sk, real, taps, block, c * taps * width,
                            width, scratch,
                        )  # fmt: skip
                for r in range(r_size):
                    for s in range(s_size):
                        tap = r * s_size + s
                        to = at + (tap * c_size + first) * width
                        here = source + r * sr + s * ss
                        if not turned and sc == 1 and sk != 1:
                            transpose(weight, here, sk, real, run, packed, to, width)
                        for c in range(run):
                            line = packed[to + c * width : to + (c + 1) * width]
                            if turned:
                                _copy_vector(block[(c * taps + tap) * width :], line)
                            elif sk == 1:
                                _copy_vector(weight[here + c * sc :], line[:real])
                            elif sc != 1:
                                for j in range(real):
                                    line[j] = weight[here + c * sc + j * sk]
                            line[real:] = 0
            at += r_size * s_size * c_size * width
            k0 += width


@team
def _pack_team(parts, weight, strides, shape, lanes, packed):
    for part in prange(parts):
        _pack_part(np.int64(part), parts, weight, strides, shape, lanes, packed)


@kernel
def _real_taps(axis, taps, o):
    """The taps [first, last) that read a real cell at output o: 0 <= o a + b + tap d < n."""
    a, b, d, n = axis
    first, last = taps, 0
    for tap in range(taps):
        if 0 <= o * a + b + tap * d < n:
            first, last = min(first, tap), tap + 1
    return first, last


@kernel
def _correlate_part(
    part, parts, x, start, steps, packed, shape, tap_steps, down, across, batch_last, bias, relu,
    lanes, y, y_strides, y_shape,
):  # fmt: skip
    """Output pixels (n, h, w) of y, a share of them, for all groups and output channels.

    In the order (h, w, n) a tile's pixels have one place, and taps that read padding are left out.
    """
    groups, k_size, c_size, r_size, s_size = shape
    r_step, s_step = tap_steps
    yn, yk, yh, yw = y_strides
    n_size, _, h_size, w_size = y_shape
    pixels = n_size * h_size * w_size
    tiles = (pixels + ROWS - 1) // ROWS
    first = tiles * part // parts * ROWS
    last = min(pixels, tiles * (part + 1) // parts * ROWS)
    # Cells of a kernel row that are neighbours in memory, with their channels, are one run. A
    # small kernel is summed in one go; a large one in pieces whose weights stay in the L1 cache
    # while all tiles of the chunk pass by.
    cells_run = s_size if s_step == c_size else 1
    run = cells_run * c_size
    together = r_size if r_size * run <= _DEPTH else 1
    depth = min(run, _DEPTH)
    # A sum in one go needs its tiles once, and few of them stay in the L1 cache.
    most = _FEW if together * run == r_size * s_size * c_size else _PIXELS
    rows = np.empty(most, np.int64)
    cells = np.empty(most, np.int64)
    taps = np.empty((most // ROWS, 4), np.int64)
    written = np.empty(most // ROWS, np.bool_)
    tile = np.empty(most * WIDEST * lanes, x.dtype)
    at = 0
    for g in range(groups):
        k0 = 0
        while k0 < k_size:
            vectors = block_vectors(k_size - k0, lanes)
            width = vectors * lanes
            real = min(width, k_size - k0)
            shift_by = bias[g * k_size + k0 : g * k_size + k0 + real]
            for chunk in range(first, last, most):
                size = min(most, last - chunk)
                padded_size = (size + ROWS - 1) // ROWS * ROWS
                if batch_last:
                    cell, n = divmod(chunk, n_size)
                    h, w = divmod(cell, w_size)
                else:
                    line, w = divmod(chunk, w_size)
                    n, h = divmod(line, h_size)
                for p in range(padded_size):
                    rows[p] = start + n * steps[0] + h * steps[1] + w * steps[2]
                    cells[p] = n * yn + h * yh + w * yw
                    if p % ROWS == 0:
                        reach = taps[p // ROWS]
                        reach[0], reach[1], reach[2], reach[3] = 0, r_size, 0, s_size
                        written[p // ROWS] = False
                        if batch_last:
                            reach[0], reach[1] = _real_taps(down, r_size, h)
                            reach[2], reach[3] = _real_taps(across, s_size, w)
                    elif batch_last and n == 0:
                        reach = taps[p // ROWS]
                        r_low, r_high = _real_taps(down, r_size, h)
                        s_low, s_high = _real_taps(across, s_size, w)
                        reach[0], reach[1] = min(reach[0], r_low), max(reach[1], r_high)
                        reach[2], reach[3] = min(reach[2], s_low), max(reach[3], s_high)
                    # Rows beyond the last pixel repeat it; their sums are dropped.
                    if p < size - 1:
                        if batch_last:
                            n += 1
                            if n == n_size:
                                n = 0
                                w += 1
                                if w == w_size:
                                    w = 0
                                    h += 1
                        else:
                            w += 1
                            if w == w_size:
                                w = 0
                                h += 1
                                if h == h_size:
                                    h = 0
                                    n += 1
                for r in range(0, r_size, together):
                    for s in range(0, s_size, cells_run):
                        for i in range(0, run, depth):
                            for t in range(padded_size // ROWS):
                                r_low, r_high, s_low, s_high = taps[t]
                                top = max(r, r_low)
                                outer = min(r + together, r_high) - top
                                low = max(i, (s_low - s) * c_size)
                                count = min(i + depth, run, (s_high - s) * c_size) - low
                                if outer <= 0 or count <= 0:
                                    continue
                                shift = g * c_size + top * r_step + s * s_step + low
                                from_b = at + ((top * s_size + s) * c_size + low) * width
                                jump = s_size * c_size * width
                                if written[t]:
                                    multiply_add(
                                        vectors, x, rows, t * ROWS, shift, r_step, 1,
                                        packed, from_b, jump, width, outer, count,
                                        tile, t * ROWS * width,
                                    )  # fmt: skip
                                else:
                                    multiply(
                                        vectors, x, rows, t * ROWS, shift, r_step, 1,
                                        packed, from_b, jump, width, outer, count,
                                        tile, t * ROWS * width,
                                    )  # fmt: skip
                                    written[t] = True
                for t in range(padded_size // ROWS):
                    if not written[t]:
                        tile[t * ROWS * width : (t + 1) * ROWS * width] = 0
                k = g * k_size + k0
                for p in range(size):
                    sums = tile[p * width : p * width + real]
                    for j in range(real):
                        sums[j] += shift_by[j]
                    if relu:
                        for j in range(real):
                            sums[j] = 0 if sums[j] < 0 else sums[j]
                if yk == 1:
                    for p in range(size):
                        _copy_vector(tile[p * width :], y[cells[p] + k : cells[p] + k + real])
                else:
                    # Pixels that are neighbours in y are turned in blocks.
                    p = 0
                    while p < size:
                        line = 1
                        while p + line < size and cells[p + line] == cells[p] + line:
                            line += 1
                        transpose(tile, p * width, width, line, real, y, cells[p] + k * yk, yk)
                        p += line
            at += r_size * s_size * c_size * width
            k0 += width


@team
def _correlate_team(
    parts, x, start, steps, packed, shape, tap_steps, down, across, batch_last, bias, relu,
    lanes, y, y_strides, y_shape,
):  # fmt: skip
    for part in prange(parts):
        _correlate_part(
            np.int64(part), parts, x, start, steps, packed, shape, tap_steps, down, across,
            batch_last, bias, relu, lanes, y, y_strides, y_shape,
        )  # fmt: skip


# --- the problems ------------------------------------------------------------------------


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    threads: int,
    relu: bool = False,
) -> Array:
    """The convolution.

    Args:
        x: (N, C, H, W), any strides.
        weight: (K, C / groups, R, S), any strides, of x's dtype.
        bias: (K,) or None.
        geometry: Two windows and the channels.
        threads: Threads to use.
        relu: Whether negative results become 0.

    Returns:
        (N, K, H', W'), in channels-last memory when x is.
    """
    n, _, *spatial = x.shape
    groups = geometry.groups
    y = empty((n, *geometry.output_shape(spatial)), x.dtype, is_channels_last(x))
    if y.size == 0:
        return y
    height, width = geometry.windows
    if bias is None:
        bias = np.zeros(geometry.out_channels, x.dtype)
    if _is_pointwise(x, geometry):
        view = _strided(x, geometry, y.shape)
        pointwise(view, weight[:, :, 0, 0], np.ascontiguousarray(bias), relu, groups, y, threads)
        return y
    memory, (sn, sh, sw) = padded(x, (height.padding, width.padding), threads)
    _correlate(
        memory, 0, (sn, sh * height.stride, sw * width.stride),
        _grouped(weight, geometry), (sh * height.dilation, sw * width.dilation),
        [
            (w.stride, -w.padding[0], w.dilation, m)
            for w, m in zip(geometry.windows, spatial, strict=True)
        ],
        np.ascontiguousarray(bias), relu, y, threads,
    )  # fmt: skip
    return y


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input: the transposed convolution of dy.

    Args:
        dy: (N, K, H', W'), any strides.
        weight: (K, C / groups, R, S).
        geometry: The forward convolution.
        spatial: (H, W) of the forward input.
        threads: Threads to use.

    Returns:
        (N, C, H, W), in channels-last memory when dy is.
    """
    n = dy.shape[0]
    dx = empty((n, geometry.in_channels, *spatial), dy.dtype, is_channels_last(dy))
    if dx.size == 0:
        return dx
    if _is_pointwise(dy, geometry):
        if max(w.stride for w in geometry.windows) > 1:
            dx[:] = 0
        groups, bias = geometry.groups, np.zeros(geometry.in_channels, dy.dtype)
        # (K, C / groups) to (C, K / groups), group by group.
        backwards = _grouped(weight, geometry)[..., 0, 0].swapaxes(1, 2)
        backwards = backwards.reshape(geometry.in_channels, -1) if groups > 1 else backwards[0]
        view = _strided(dx, geometry, dy.shape)
        pointwise(dy, backwards, bias, False, groups, view, threads)
        return dx
    axes = [
        [phase_of(w, phase, size) for phase in range(min(w.stride, size))]
        for w, size in zip(geometry.windows, spatial, strict=True)
    ]
    padding = tuple(
        reach(phases, m) for phases, m in zip(axes, geometry.outputs(spatial), strict=True)
    )
    memory, (sn, sh, sw) = padded(dy, (padding[0], padding[1]), threads)
    # Of the adjoint problem the forward's input channels are the outputs.
    kernel = _grouped(weight, geometry).transpose(0, 2, 1, 3, 4)
    bias = np.zeros(geometry.in_channels, dy.dtype)
    for i, h in enumerate(axes[0]):
        for j, w in enumerate(axes[1]):
            part = dx[:, :, i :: geometry.windows[0].stride, j :: geometry.windows[1].stride]
            if h.taps == 0 or w.taps == 0:
                part[:] = 0
                continue
            _correlate(
                memory,
                (padding[0][0] + h.start) * sh + (padding[1][0] + w.start) * sw,
                (sn, sh, sw),
                kernel[:, :, :, h.first :: h.every, w.first :: w.every],
                (-h.back * sh, -w.back * sw),
                [
                    (1, phase.start, -phase.back, m)
                    for phase, m in zip((h, w), dy.shape[2:], strict=True)
                ],
                bias, False, part, threads,
            )  # fmt: skip
    return dx


# --- their parts -------------------------------------------------------------------------------


def _correlate(
    memory: Array,
    start: int,
    steps: tuple[int, int, int],
    weight: Array,
    tap_steps: tuple[int, int],
    axes: list[tuple[int, int, int, int]],
    bias: Array,
    relu: bool,
    y: Array,
    threads: int,
) -> None:
    """Fill y, a view (N, K, H', W'), from the address `start` of the input on.

    An axis (a, b, d, n) says that tap t of output o reads cell o a + b + t d of n.
    """
    groups, k, c, r, s = weight.shape
    lanes = SIMD.lanes(y.itemsize)
    packed = workspace.empty(groups * -(-k // lanes) * lanes * c * r * s, y.dtype)
    kernel, strides = flat(weight)
    launch(_pack_part, _pack_team, threads, kernel, strides, weight.shape, lanes, packed)
    out, y_strides = flat(y)
    launch(
        _correlate_part, _correlate_team, threads,
        memory, start, steps, packed, weight.shape, tap_steps, *axes,
        _batch_last(y.shape, (r, s), axes), bias, relu, lanes, out, y_strides, y.shape,
    )  # fmt: skip


def _batch_last(
    y: tuple[int, ...], taps: tuple[int, int], axes: list[tuple[int, int, int, int]]
) -> bool:
    """Whether so much that is read is padding that the order (h, w, n) pays."""
    n, _, h, w = y
    if n < ROWS or h * w > _SMALL:
        return False
    real = [
        sum(0 <= o * a + b + tap * d < size for o in range(outputs) for tap in range(kernel))
        for (a, b, d, size), kernel, outputs in zip(axes, taps, (h, w), strict=True)
    ]
    return 10 * prod(real) < 9 * prod(taps) * h * w


def _is_pointwise(x: Array, geometry: Geometry) -> bool:
    """Whether pixels that are neighbours in memory are multiplied one by one."""
    return (
        geometry.kernel == (1, 1)
        and all(w.padding == (0, 0) for w in geometry.windows)
        and x.strides[3] == x.itemsize
        and not is_channels_last(x)
    )


def _strided(x: Array, geometry: Geometry, grid: tuple[int, ...]) -> Array:
    """Every stride-th pixel of x, as many as the grid has."""
    height, width = geometry.windows
    return x[:, :, :: height.stride, :: width.stride][:, :, : grid[2], : grid[3]]


def _grouped(weight: Array, geometry: Geometry) -> Array:
    """Weights as (group, output channel in it, input channel in it, r, s)."""
    return weight.reshape(
        geometry.groups, geometry.out_channels // geometry.groups, *weight.shape[1:]
    )
