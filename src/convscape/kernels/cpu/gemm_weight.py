"""The weight gradient on the register tile: rows are output channels, and the sum is over pixels.

    dw[k, c, r, s] = Σ_{n, h, w} dy[n, k, h, w] x[n, c, h stride - low + r dilation, ...]

The columns are the weights of one output channel in the order (r, s, c). Pixels are taken in pieces
that stay in L2: dy's piece is turned once, so that a row's pixels are neighbours; of x one block of
columns at a time is gathered, which is a run of channels for each pixel.

On a small map most of a border tap's cells are padding. There the pixels are ordered (h, w, n): a
tap's real cells are then whole runs, and only those are multiplied. Maps with long lines are
multiplied in place (`gemm_weight_wide`), and in plain memory with few weights an output channel
nothing is turned (`gemm_weight_lines`).
"""

from functools import lru_cache
from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import gemm_weight_lines, gemm_weight_wide
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound
from convscape.kernels.cpu.gemm_weight_pieces import collect_part, weight_part
from convscape.kernels.cpu.layout import (
    Array,
    flat,
    is_channels_last,
    lies_last,
    padded,
    weight_shaped,
)
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import LONGEST

_WIDE = 128  # pixels of an image from which on its lines are multiplied in place
_WIDE_WITHOUT = 48  # the same where no padding is to be left out
_SPLIT_ROWS = 16 * ROWS  # output channels of a thread's own; with fewer, pixels are split
_TOGETHER = 256  # pixels of a line of all images, at most, where the images' lie side by side
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread


@lru_cache(maxsize=1024)
def bind_weight(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    dy_shape: tuple[int, ...], dy_strides: tuple[int, ...], dtype: str, threads: int,
) -> Bound | None:  # fmt: skip
    """`weight_grad` where all but the addresses is known, as `convscape.kernels.cpu.gemm.bind`.

    Args:
        geometry: The convolution.
        shape: Of the input.
        strides: Its, in elements.
        dy_shape: Of the output's gradient.
        dy_strides: Its, in elements.
        dtype: Of both.
        threads: Threads to use.

    Returns:
        What to call for wide channels-last maps without gaps; None for others.
    """
    last = lies_last(shape, strides) and lies_last(dy_shape, dy_strides)
    if not last or 0 in shape or 0 in dy_shape or not _is_wide(geometry, dy_shape):
        return None
    return gemm_weight_wide.bind(geometry, shape, dy_shape, dtype, threads)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight: the input correlated with dy.

    Args:
        x: (N, C, H, W), the forward input.
        dy: (N, K, H', W').
        geometry: The forward convolution.
        threads: Threads to use.

    Returns:
        (K, C / groups, R, S), in channels-last memory when x is.
    """
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    plain = not is_channels_last(x) and dy.strides[3] == dy.itemsize
    if plain and gemm_weight_lines.fits(geometry, dy.shape[2:], x.itemsize):
        return gemm_weight_lines.weight_grad(x, dy, geometry, threads)
    if _is_wide(geometry, dy.shape):
        return gemm_weight_wide.weight_grad(x, dy, geometry, threads)
    k, c, r, s = geometry.weight_shape
    k //= geometry.groups
    lanes = SIMD.lanes(x.itemsize)
    memory, strides = padded(x, ((0, 0), (0, 0)), threads)
    given, given_strides = flat(dy)
    # Pixels must have one step in memory within an image.
    if given_strides[2] != dy.shape[3] * given_strides[3]:
        given, (sn, sh, sw) = padded(dy, ((0, 0), (0, 0)), threads)
        given_strides = (sn, 1, sh, sw)
    if dy.size * c * r * s < _SPLIT_FROM:
        threads = 1
    split = threads > 1 and k >= _SPLIT_ROWS * threads
    slabs = 1 if split else max(1, threads)
    wide, k_rows = -(-r * s * c // lanes) * lanes, -(-k // ROWS) * ROWS
    batch_last, last = _batch_last(dy.shape, x.shape, geometry), is_channels_last(x)
    pixels = dy.shape[0] * prod(dy.shape[2:])
    dw = workspace.empty(prod(geometry.weight_shape), x.dtype)
    # A sum of few pixels is complete at once, and where it belongs.
    direct = last and slabs == 1 and pixels <= LONGEST
    sums = dw if direct else workspace.empty(slabs * geometry.groups * wide * k_rows, x.dtype)
    down, across = ((w.stride, w.dilation, w.padding[0]) for w in geometry.windows)
    channels, taps = (geometry.groups, k), (r, s, c)
    launch(
        weight_part, threads,
        memory, strides, x.shape[2:], given, given_strides, (dy.shape[0], *dy.shape[2:]),
        down, across, channels, taps, batch_last, split, lanes, direct, sums,
    )  # fmt: skip
    if not direct:
        launch(collect_part, threads, sums, slabs, channels, taps, lanes, last, dw)
    return weight_shaped(dw, geometry, last)


@lru_cache(maxsize=1024)
def _is_wide(geometry: Geometry, dy: tuple[int, ...]) -> bool:
    """Whether an image's pixels are enough for sums along its lines."""
    padded_cells = any(w.padding != (0, 0) for w in geometry.windows)
    return prod(dy[2:]) >= (_WIDE if padded_cells else _WIDE_WITHOUT)


@lru_cache(maxsize=1024)
def _batch_last(dy: tuple[int, ...], x: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether enough of the taps are padding to order the pixels by position, then by image."""
    n, _, _, w = dy
    if n < ROWS or n * w > _TOGETHER:
        return False
    met = [
        sum(
            0 <= o * axis.stride - axis.padding[0] + tap * axis.dilation < size
            for o in range(outputs)
            for tap in range(axis.kernel)
        )
        for axis, size, outputs in zip(geometry.windows, x[2:], dy[2:], strict=True)
    ]
    return 10 * prod(met) < 9 * prod(geometry.kernel) * prod(dy[2:])
