"""The weight gradient of a 3x3 convolution by the adjoint of Winograd's F(4x4, 3x3).

    dg = G^T [ Σ_tiles (A dy A^T) ⊙ (B^T d B) ] G

Tiles are taken in chunks that fit the last level of the cache: first their points, then 36 matrix
products whose sum runs over tiles, and at the end one transform of the sums.
"""

import numpy as np
from numba import prange

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, padded
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply_add
from convscape.kernels.cpu.winograd_points import kernel_adjoint_tile, output_adjoint_tile
from convscape.kernels.cpu.winograd_tiles import gather, inside, load_tile

_RUN = 16  # input channels whose gradients are transformed and transposed at once
_TILES = 96  # tiles of one piece of the sums: dy's points stay in the L1 cache
_POINT_BYTES = 16 << 20  # points of one chunk


@kernel
def _spread_part(
    part, parts, x, strides, size, dy, dy_strides, channels, lanes, corner, grid, first, count,
    spread, given,
):  # fmt: skip
    """Points of x and of dy for the tiles [first, first + count), a share of them."""
    _, h_size, w_size = grid
    c_size, k_size = channels
    down, across = (h_size + 3) // 4, (w_size + 3) // 4
    c_row, k_row = _row(c_size, lanes), _row(k_size, lanes)
    patch, dy_patch = np.empty(36 * c_size, x.dtype), np.empty(16 * k_size, x.dtype)
    within, patched, writes = np.empty(36, np.int64), np.empty(36, np.int64), np.empty(36, np.int64)
    dy_within, dy_patched = np.empty(16, np.int64), np.empty(16, np.int64)
    dy_writes = np.empty(36, np.int64)
    for e in range(36):
        within[e] = e // 6 * strides[1] + e % 6 * strides[2]
        patched[e] = e * c_size
        writes[e] = e * count * c_row
        dy_writes[e] = e * count * k_row
    for o in range(16):
        dy_within[o] = o // 4 * dy_strides[1] + o % 4 * dy_strides[2]
        dy_patched[o] = o * k_size
    for t in range(count * part // parts, count * (part + 1) // parts):
        line, tx = divmod(first + t, across)
        n, ty = divmod(line, down)
        load_tile(
            x, strides, size, c_size, ty * 4 - corner[0], tx * 4 - corner[1], n * strides[0],
            within, patch, patched, spread, t * c_row, writes,
        )  # fmt: skip
        at, to, bounds = n * dy_strides[0], t * k_row, (h_size, w_size)
        if inside(ty * 4, tx * 4, bounds, 4):
            at += ty * 4 * dy_strides[1] + tx * 4 * dy_strides[2]
            output_adjoint_tile(dy, at, dy_within, given, to, dy_writes, k_size, dy, 0)
        else:
            gather(dy, dy_strides, bounds, k_size, ty * 4, tx * 4, at, 4, dy_patch)
            output_adjoint_tile(dy_patch, 0, dy_patched, given, to, dy_writes, k_size, dy, 0)


@team
def _spread_team(
    parts, x, strides, size, dy, dy_strides, channels, lanes, corner, grid, first, count,
    spread, given,
):  # fmt: skip
    for part in prange(parts):
        _spread_part(
            np.int64(part), parts, x, strides, size, dy, dy_strides, channels, lanes, corner, grid,
            first, count, spread, given,
        )  # fmt: skip


@kernel
def _row(channels, lanes):
    """Length of a row of points: whole vectors, and one cache line off a multiple of the page."""
    return (channels + lanes - 1) // lanes * lanes + lanes


@kernel
def _multiply_part(part, parts, spread, given, count, channels, lanes, sums):
    """Add the chunk's products to the points of dg, [36][block][c][lane]; a share of the points."""
    c_size, k_size = channels
    c_row, k_row = _row(c_size, lanes), _row(k_size, lanes)
    wide = (k_size + lanes - 1) // lanes * lanes
    c_rows = (c_size + ROWS - 1) // ROWS * ROWS
    rows = np.empty(c_rows, np.int64)
    for c in range(c_rows):
        rows[c] = min(c, c_size - 1)
    for e in range(36 * part // parts, 36 * (part + 1) // parts):
        for first in range(0, count, _TILES):
            depth = min(_TILES, count - first)
            k0 = 0
            while k0 < k_size:
                vectors = block_vectors(k_size - k0, lanes)
                width = vectors * lanes
                at, b = (e * count + first) * c_row, (e * count + first) * k_row + k0
                for c in range(0, c_rows, ROWS):
                    multiply_add(
                        vectors, spread, rows, c, at, 0, c_row, given, b, 0, k_row, 1, depth,
                        sums, (e * wide + k0) * c_rows + c * width,
                    )  # fmt: skip
                k0 += width


@team
def _multiply_team(parts, spread, given, count, channels, lanes, sums):
    for part in prange(parts):
        _multiply_part(np.int64(part), parts, spread, given, count, channels, lanes, sums)


@kernel
def _kernel_grad_part(part, parts, sums, channels, lanes, dw):
    """The weight gradient (k, c, 3, 3) from its points; a share of the input channels."""
    c_size, k_size = channels
    wide = (k_size + lanes - 1) // lanes * lanes
    c_rows = (c_size + ROWS - 1) // ROWS * ROWS
    low, high = c_size * part // parts, c_size * (part + 1) // parts
    block = np.empty(9 * _RUN * WIDEST * lanes, sums.dtype)
    reads, writes = np.empty(36, np.int64), np.empty(9, np.int64)
    for e in range(36):
        reads[e] = e * wide * c_rows
    k0 = 0
    while k0 < k_size:
        width = block_vectors(k_size - k0, lanes) * lanes
        for t in range(9):
            writes[t] = t * _RUN * width
        for first in range(low, high, _RUN):
            run = min(_RUN, high - first)
            at = k0 * c_rows + first * width
            kernel_adjoint_tile(sums, at, reads, block, 0, writes, run * width, block, 0)
            for j in range(min(width, k_size - k0)):
                line = dw[((k0 + j) * c_size + first) * 9 : ((k0 + j) * c_size + first + run) * 9]
                for c in range(run):
                    for t in range(9):
                        line[c * 9 + t] = block[(t * _RUN + c) * width + j]
        k0 += width


@team
def _kernel_grad_team(parts, sums, channels, lanes, dw):
    for part in prange(parts):
        _kernel_grad_part(np.int64(part), parts, sums, channels, lanes, dw)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as in `convscape.kernels.cpu.gemm.weight_grad`."""
    n, c, h, w = x.shape
    k, *outputs = dy.shape[1:]
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    lanes, channels = SIMD.lanes(x.itemsize), (c, k)
    corner = tuple(w.padding[0] for w in geometry.windows)
    memory, strides = padded(x, ((0, 0), (0, 0)), threads)
    dy_memory, dy_strides = padded(dy, ((0, 0), (0, 0)), threads)
    wide, c_rows = -(-k // lanes) * lanes, -(-c // ROWS) * ROWS
    c_row, k_row = (-(-v // lanes) * lanes + lanes for v in channels)
    tiles = n * -(-outputs[0] // 4) * -(-outputs[1] // 4)
    # As many tiles at once as fit the last level of the cache: the sums are read and written once
    # a chunk.
    chunk = min(tiles, max(_TILES, _POINT_BYTES // (36 * x.itemsize * (c_row + k_row))))
    spread = workspace.empty(36 * chunk * c_row, x.dtype)
    # The idle lanes are multiplied too, and stay 0.
    given = workspace.zeros(36 * chunk * k_row, x.dtype)
    sums = workspace.zeros(36 * wide * c_rows, x.dtype)
    for first in range(0, tiles, chunk):
        count = min(chunk, tiles - first)
        launch(
            _spread_part, _spread_team, threads,
            memory, strides, (h, w), dy_memory, dy_strides, channels, lanes, corner,
            (n, *outputs), first, count, spread, given,
        )  # fmt: skip
        launch(
            _multiply_part, _multiply_team, threads,
            spread, given, count, channels, lanes, sums,
        )  # fmt: skip
    dw = workspace.empty(9 * c * k, x.dtype)
    launch(_kernel_grad_part, _kernel_grad_team, threads, sums, channels, lanes, dw)
    return dw.reshape(geometry.weight_shape)
