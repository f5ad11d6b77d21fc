"""1x1 convolution on the register tile with the weights as they lie: nothing of them is copied.

    y[n, k, p] = bias[k] + Σ_c weight[k, c] x[n, c, p]

Rows are output channels, whose weights are read where they lie, and columns are pixels, which are
neighbours in plain (N, C, H, W) memory. The pixels of a panel are copied together, channel by
channel, so that the panel stays in the L2 cache while all output channels pass by; meanwhile the
next one's cells, which lie far apart, are asked for. The input gradient is the same with the
weights' axes exchanged; a stride is a view of every other pixel. Channels-last images are taken
this way where they have few pixels: a panel of those is soon turned, and packing the weights would
take longer.
"""

from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.bound import Launch, lies_at
from convscape.kernels.cpu.clip import Clipped, bounds
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.memory import address
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import (
    WIDEST,
    block_vectors,
    finish_down,
    multiply,
    multiply_add,
)
from convscape.kernels.cpu.transpose import transpose

_DEPTH = 256  # products of one piece of a sum: longer ones lose digits
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread
_FEWEST = 32  # pixels of channels-last images that are taken this way
_MANY = 1 << 16  # weights that take longer to pack than a panel to turn
_LINE = 64  # bytes of a line of the cache
_PIXELS = SIMD.vectors * SIMD.bits // 8  # bytes of a panel's pixels of one channel


@kernel
def _pack(x, strides, grid, first, real, width, channels, panel):
    """Set panel[c][i] to x's pixel first + i; the lanes behind the last pixel become 0."""
    _, h_size, w_size = grid
    sn, sc, sh, sw = strides
    i = 0
    while i < real:
        line, w = divmod(first + i, w_size)
        n, h = divmod(line, h_size)
        run = min(real - i, w_size - w)
        at = n * sn + h * sh + w * sw
        if sc == 1:
            transpose(x, at, sw, run, channels, panel, i, width)
            i += run
            continue
        for c in range(channels):
            out = panel[c * width + i : c * width + i + run]
            source = x[at + c * sc :]
            if sw == 1:
                for j in range(run):
                    out[j] = source[j]
            elif sw == 2:
                for j in range(run):
                    out[j] = source[2 * j]
            else:
                for j in range(run):
                    out[j] = source[j * sw]
        i += run
    if real < width:
        for c in range(channels):
            panel[c * width + real : (c + 1) * width] = 0


@kernel
def _store(tile, bias, lower, upper, y, strides, grid, first, real, width, k, rows):
    """Write the sums of `rows` output channels from k on to pixels that y has in several lines."""
    _, h_size, w_size = grid
    yn, yk, yh, yw = strides
    i = 0
    while i < real:
        line, w = divmod(first + i, w_size)
        n, h = divmod(line, h_size)
        run = min(real - i, w_size - w)
        at = n * yn + h * yh + w * yw
        for r in range(rows):
            out = y[at + (k + r) * yk :]
            sums, b = tile[r * width + i : r * width + i + run], bias[k + r]
            for j in range(run):
                v = sums[j] + b
                v = lower if v < lower else v
                out[j * yw] = upper if v > upper else v
        i += run


@kernel
def _ask(x, strides, grid, first, low, high):
    """Ask for the panel that begins at pixel `first`, of the channels low <= c < high."""
    _, h_size, w_size = grid
    line, w = divmod(first, w_size)
    n, h = divmod(line, h_size)
    at = n * strides[0] + h * strides[2] + w * strides[3]
    step = _LINE // x.itemsize
    for c in range(low, high):
        for i in range(0, _PIXELS // x.itemsize * strides[3], step):
            fetch(x, at + c * strides[1] + i)


@team
def _pointwise_part(
    part, parts, x, x_strides, weight, w_strides, bias, limits, channels, lanes, grid, y, y_strides
):
    """A share of the panels; where there are few of them, of the output channels of each."""
    if divide(part, parts):
        return
    groups, c_size, k_size = channels
    pixels = grid[0] * grid[1] * grid[2]
    widest = WIDEST * lanes
    panels, lots = (pixels + widest - 1) // widest, (k_size + ROWS - 1) // ROWS
    low, high, k_low, k_high = 0, panels, 0, lots * ROWS
    if panels >= 16 * parts or lots < 2 * parts:
        low, high = panels * part // parts, panels * (part + 1) // parts
    else:
        k_low, k_high = lots * part // parts * ROWS, lots * (part + 1) // parts * ROWS
    panel = np.empty(c_size * widest, x.dtype)
    tile = np.empty(ROWS * widest, x.dtype)
    # Rows behind the last output channel repeat it: they write the same sums to the same place.
    repeated = np.minimum(np.arange(lots * ROWS), k_size - 1)
    rows, places = repeated * w_strides[0], repeated * y_strides[1]
    shifts = np.empty(lots * ROWS, x.dtype)
    lower, upper = x.dtype.type(limits[0]), x.dtype.type(limits[1])
    for g in range(groups):
        at, by = g * c_size * x_strides[1], g * k_size * w_strides[0]
        to = g * k_size * y_strides[1]
        for k in range(lots * ROWS):
            shifts[k] = bias[g * k_size + repeated[k]]
        for p in range(low, high):
            first = p * widest
            real = min(widest, pixels - first)
            done = 0
            while done < real:
                vectors = block_vectors(real - done, lanes)
                width = vectors * lanes
                some = min(width, real - done)
                _pack(x[at:], x_strides, grid, first + done, some, width, c_size, panel)
                line, w = divmod(first + done, grid[2])
                n, h = divmod(line, grid[1])
                pixel = to + n * y_strides[0] + h * y_strides[2] + w
                direct = y_strides[3] == 1 and w + some <= grid[2]
                for k in range(k_low, k_high, ROWS):
                    if p + 1 < high:
                        # A share of the next panel with every tile.
                        share, all_shares = (k - k_low) // ROWS, (k_high - k_low) // ROWS
                        _ask(
                            x[at:], x_strides, grid, first + widest,
                            c_size * share // all_shares, c_size * (share + 1) // all_shares,
                        )  # fmt: skip
                    for c in range(0, c_size, _DEPTH):
                        depth = min(_DEPTH, c_size - c)
                        shift = by + c * w_strides[1]
                        if direct and c + depth == c_size:
                            finish_down(
                                vectors, c == 0, weight, rows, k, shift, 0, w_strides[1],
                                panel, c * width, 0, width, 1, depth, tile, 0,
                                y, places, k, pixel, shifts, k, some, lower, upper,
                            )  # fmt: skip
                        elif c == 0:
                            multiply(
                                vectors, weight, rows, k, shift, 0, w_strides[1],
                                panel, 0, 0, width, 1, depth, tile, 0,
                            )  # fmt: skip
                        else:
                            multiply_add(
                                vectors, weight, rows, k, shift, 0, w_strides[1],
                                panel, c * width, 0, width, 1, depth, tile, 0,
                            )  # fmt: skip
                    if not direct:
                        _store(
                            tile, shifts, lower, upper, y[to:], y_strides, grid, first + done, some,
                            width, k, min(ROWS, k_size - k),
                        )  # fmt: skip
                done += width


def pointwise(
    x: Array,
    weight: Array,
    bias: Array | None,
    relu: bool | float,
    groups: int,
    y: Array,
    threads: int,
) -> None:
    """Fill y, a view (N, K, H, W), from x, a view (N, C, H, W).

    Args:
        x: The input at the pixels of y, in plain memory.
        weight: (K, C / groups), any strides; K runs over all groups.
        bias: (K,), or None.
        relu: Whether negative results become 0; a number is an upper bound beside.
        groups: Channel groups.
        y: The output, which shares no memory with x.
        threads: Threads to use.
    """
    source, x_strides = flat(x)
    kernels, w_strides = flat(weight)
    out, y_strides = flat(y)
    n, k, h, w = y.shape
    grid = (n, h, w)
    # Lines that follow each other in both are one line.
    if all(s[2] == w * s[3] for s in (x_strides, y_strides)):
        grid = (n, 1, h * w)
    channels = (groups, weight.shape[1], k // groups)
    threads = threads if y.size * weight.shape[1] >= _SPLIT_FROM else 1
    launch(
        _pointwise_part, threads,
        source, x_strides, kernels, w_strides,
        np.zeros(k, y.dtype) if bias is None else np.ascontiguousarray(bias),
        bounds(relu), channels,
        SIMD.lanes(y.itemsize), grid, out, y_strides,
    )  # fmt: skip


def suits(geometry: Geometry, pixels: int, weight_strides: tuple[int, ...], itemsize: int) -> bool:
    """Whether a channels-last problem of so many output pixels is better taken this way.

    One panel takes all, its lanes are filled, and there are weights enough to be worth it.
    """
    lanes = SIMD.lanes(itemsize)
    k, c, *_ = geometry.weight_shape
    filled = -(-pixels // lanes) * lanes * 7 <= 8 * pixels
    return (
        geometry.kernel == (1, 1)
        and geometry.groups == 1
        and all(w.padding == (0, 0) for w in geometry.windows)
        and _FEWEST <= pixels <= WIDEST * lanes
        and filled
        and weight_strides[1] == 1
        and k * c >= _MANY
    )


class InPlace:
    """`pointwise` of channels-last memory of which all is known but where things lie.

    Args:
        geometry: The convolution.
        shape: Of the input.
        weight_strides: The weights', in elements.
        dtype: Of all.
        threads: Threads to use.
    """

    def __init__(
        self, geometry: Geometry, shape: tuple[int, ...], weight_strides: tuple[int, ...],
        dtype: np.dtype[Any], threads: int,
    ) -> None:  # fmt: skip
        (n, c, h, w), (rows, columns) = shape, geometry.outputs(shape[2:])
        k, (down, across) = geometry.out_channels, (m.stride for m in geometry.windows)
        self._no_bias, self._threads = np.zeros(k, dtype), threads
        x_strides = h * w * c, 1, down * w * c, across * c
        y_strides = rows * columns * k, 1, columns * k, k
        grid = (n, rows, columns)
        if all(step[2] == columns * step[3] for step in (x_strides, y_strides)):
            grid = (n, 1, rows * columns)
        weights = lies_at(1, (k - 1) * weight_strides[0] + c, dtype)
        out = lies_at(2, n * rows * columns * k, dtype)
        self._given = lies_at(0, prod(shape), dtype), x_strides, weights, weight_strides[:2]
        self._rest = (1, c, k), SIMD.lanes(dtype.itemsize), grid, out, y_strides
        self._launches = Clipped(self._launch)

    def __call__(
        self, x: int, weight: int, _packed: int, y: int, bias: Array | None, relu: bool | float
    ) -> None:
        """Compute, given the addresses of the input, the weights and y."""
        none = self._no_bias
        given = none if bias is None else np.ascontiguousarray(bias, none.dtype)
        self._launches(relu)(x, weight, y, address(given))

    def _launch(self, limits: tuple[float, float]) -> Launch:
        bias = lies_at(3, len(self._no_bias), self._no_bias.dtype)
        return Launch(_pointwise_part, self._threads, *self._given, bias, limits, *self._rest)
