"""3x3 convolution at stride 1 by Winograd's F(4x4, 3x3): 36 multiplications for 144.

    y = A^T [ (G g G^T) ⊙ (B^T d B) ] A

over tiles d of 6x6 input cells, which overlap by 2, summed over input channels; the matrices are in
`winograd_points`. Over channels the products become 36 matrix products on the register tile. Tiles
are taken in chunks whose points stay in the L2 cache. The input gradient is a forward problem with
the kernel reversed; the weight gradient is in `winograd_weight`.

One NaN or Inf spreads over its whole tile; where that matters, name `algorithm="gemm"`.

Source: A. Lavin and S. Gray, arXiv 1509.09308; blocking: A. Zlateski et al., "The Anatomy of
Efficient FFT and Winograd Convolutions on Modern CPUs", ICS 2019.
"""

import numpy as np
from numba import prange

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, flat, is_channels_last, padded, plain
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.transpose import transpose
from convscape.kernels.cpu.winograd_points import kernel_tile, output_tile
from convscape.kernels.cpu.winograd_tiles import load_tile
from convscape.kernels.cpu.winograd_weight import weight_grad

__all__ = ["forward", "input_grad", "weight_grad"]

_RUN = 16  # input channels whose kernels are transposed and transformed at once
_DEPTH = 128  # channels of one piece of a sum: longer ones lose digits

# --- the kernels -------------------------------------------------------------------------------


@kernel
def _kernel_part(part, parts, weight, strides, flip, channels, lanes, points):
    """Points [36][block][c][lane] of weights (k, c, 3, 3); a share of the input channels.

    Output channels must become neighbours. They are already in Keras's order of axes; in PyTorch's
    a block of kernels is turned first.
    """
    c_size, k_size = channels
    sk, sc, sr, ss = strides
    wide = (k_size + lanes - 1) // lanes * lanes
    low, high = c_size * part // parts, c_size * (part + 1) // parts
    block = np.zeros(9 * _RUN * WIDEST * lanes, weight.dtype)
    reads, direct, writes = np.empty(9, np.int64), np.empty(9, np.int64), np.empty(36, np.int64)
    for e in range(36):
        writes[e] = e * (wide * c_size + lanes)
    k0 = 0
    while k0 < k_size:
        width = block_vectors(k_size - k0, lanes) * lanes
        real = min(width, k_size - k0)
        for t in range(9):
            cell = 8 - t if flip else t
            reads[t] = cell * width
            direct[t] = cell // 3 * sr + cell % 3 * ss
        for first in range(low, high, _RUN):
            run = min(_RUN, high - first)
            at, to = k0 * sk + first * sc, k0 * c_size + first * width
            if sk == 1:
                for c in range(run):
                    kernel_tile(
                        weight, at + c * sc, direct, points, to + c * width, writes, real, block, 0
                    )
                continue
            if sc == 9 and sr == 3 and ss == 1:
                transpose(weight, at, sk, real, run * 9, block, 0, width)
            else:
                for c in range(run):
                    for j in range(real):
                        for t in range(9):
                            source = at + j * sk + c * sc + t // 3 * sr + t % 3 * ss
                            block[(c * 9 + t) * width + j] = weight[source]
            for c in range(run):
                kernel_tile(
                    block, c * 9 * width, reads, points, to + c * width, writes, width, block, 0
                )
        k0 += width


@team
def _kernel_team(parts, weight, strides, flip, channels, lanes, points):
    for part in prange(parts):
        _kernel_part(np.int64(part), parts, weight, strides, flip, channels, lanes, points)


@kernel
def _forward_part(
    part, parts, x, strides, size, channels, points, bias, lanes, y, grid, corner, chunk
):
    """A share of the output tiles: transform, 36 matrix products and back, chunk by chunk."""
    n_size, h_size, w_size = grid
    c_size, k_size = channels
    down, across = (h_size + 3) // 4, (w_size + 3) // 4
    tiles = n_size * down * across
    first, last = tiles * part // parts, tiles * (part + 1) // parts
    wide = (k_size + lanes - 1) // lanes * lanes
    # The 36 planes lie one cache line off a multiple of the page, or they would all compete for
    # the same few sets of the cache.
    plane, result, step = chunk * c_size + lanes, chunk * wide + lanes, wide * c_size + lanes
    spread = np.empty(36 * plane, x.dtype)
    products = np.empty(36 * result, x.dtype)
    patch = np.empty(36 * c_size, x.dtype)
    block = np.empty(16 * wide, x.dtype)
    within, patched = np.empty(36, np.int64), np.empty(36, np.int64)
    spreads, gathered = np.empty(36, np.int64), np.empty(36, np.int64)
    placed, blocked = np.empty(16, np.int64), np.empty(16, np.int64)
    for e in range(36):
        within[e] = e // 6 * strides[1] + e % 6 * strides[2]
        patched[e] = e * c_size
        spreads[e] = e * plane
        gathered[e] = e * result
    for o in range(16):
        placed[o] = (o // 4 * w_size + o % 4) * k_size
        blocked[o] = o * wide
    rows = np.arange(chunk) * c_size
    for start in range(first, last, chunk):
        count = min(chunk, last - start)
        for t in range(count):
            line, tx = divmod(start + t, across)
            n, ty = divmod(line, down)
            load_tile(
                x, strides, size, c_size, ty * 4 - corner[0], tx * 4 - corner[1], n * strides[0],
                within, patch, patched, spread, t * c_size, spreads,
            )  # fmt: skip
        for e in range(36):
            k0 = 0
            while k0 < k_size:
                vectors = block_vectors(k_size - k0, lanes)
                width = vectors * lanes
                b = e * step + k0 * c_size
                for c0 in range(0, c_size, _DEPTH):
                    depth = min(_DEPTH, c_size - c0)
                    at, by = e * plane + c0, b + c0 * width
                    for t in range(0, count, ROWS):
                        to = e * result + k0 * chunk + t * width
                        if c0 == 0:
                            multiply(
                                vectors, spread, rows, t, at, 0, 1, points, by, 0, width, 1, depth,
                                products, to,
                            )  # fmt: skip
                        else:
                            multiply_add(
                                vectors, spread, rows, t, at, 0, 1, points, by, 0, width, 1, depth,
                                products, to,
                            )  # fmt: skip
                k0 += width
        for t in range(count):
            line, tx = divmod(start + t, across)
            n, ty = divmod(line, down)
            corner_at = ((n * h_size + ty * 4) * w_size + tx * 4) * k_size
            whole = ty * 4 + 4 <= h_size and tx * 4 + 4 <= w_size
            k0 = 0
            while k0 < k_size:
                width = block_vectors(k_size - k0, lanes) * lanes
                real = min(width, k_size - k0)
                at = k0 * chunk + t * width
                if whole:
                    output_tile(products, at, gathered, y, corner_at + k0, placed, real, bias, k0)
                else:
                    output_tile(products, at, gathered, block, k0, blocked, real, bias, k0)
                k0 += width
            if not whole:
                for i in range(min(4, h_size - ty * 4)):
                    for j in range(min(4, w_size - tx * 4)):
                        out = y[corner_at + placed[i * 4 + j] :]
                        line_of = block[(i * 4 + j) * wide :]
                        for k in range(k_size):
                            out[k] = line_of[k]


@team
def _forward_team(parts, x, strides, size, channels, points, bias, lanes, y, grid, corner, chunk):
    for part in prange(parts):
        _forward_part(
            np.int64(part), parts, x, strides, size, channels, points, bias, lanes,
            y, grid, corner, chunk,
        )  # fmt: skip


# --- the problems ------------------------------------------------------------------------------


def forward(x: Array, weight: Array, bias: Array | None, geometry: Geometry, threads: int) -> Array:
    """The convolution; arguments and result as in `convscape.kernels.cpu.gemm.forward`."""
    outputs = geometry.output_shape(x.shape[2:])[1:]
    corner = tuple(w.padding[0] for w in geometry.windows)
    points = _points(weight, False, threads)
    place = (outputs[0], outputs[1]), (corner[0], corner[1])
    return _convolve(x, points, geometry.out_channels, bias, *place, threads)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`.

    dx is dy convolved under the adjoint window, the kernel reversed and its channels swapped.
    """
    corner = tuple(2 - w.padding[0] for w in geometry.windows)
    points = _points(weight.swapaxes(0, 1), True, threads)
    channels = geometry.in_channels
    return _convolve(dy, points, channels, None, spatial, (corner[0], corner[1]), threads)


def _convolve(
    x: Array,
    points: Array,
    k: int,
    bias: Array | None,
    outputs: tuple[int, int],
    corner: tuple[int, int],
    threads: int,
) -> Array:
    """Correlate with kernels given by their points; output cell (0, 0) reads from -corner on."""
    n, c, h, w = x.shape
    y = workspace.empty(n * outputs[0] * outputs[1] * k, x.dtype).reshape(n, *outputs, k)
    if y.size:
        memory, strides = padded(x, ((0, 0), (0, 0)), threads)
        if bias is None:
            bias = np.zeros(k, x.dtype)
        lanes = SIMD.lanes(x.itemsize)
        launch(
            _forward_part, _forward_team, threads,
            memory, strides, (h, w), (c, k), points,
            np.ascontiguousarray(bias), lanes, y.reshape(-1), (n, *outputs), corner,
            _chunk(c, k, x.itemsize),
        )  # fmt: skip
    return y.transpose(0, 3, 1, 2) if is_channels_last(x) else plain(y, threads)


def _points(weight: Array, flip: bool, threads: int) -> Array:
    """The 36 points of (K, C, 3, 3) kernels, or of the reversed ones, packed for the tile."""
    k, c = weight.shape[:2]
    lanes = SIMD.lanes(weight.itemsize)
    points = workspace.empty(36 * (-(-k // lanes) * lanes * c + lanes), weight.dtype)
    kernels, strides = flat(weight)
    launch(_kernel_part, _kernel_team, threads, kernels, strides, flip, (c, k), lanes, points)
    return points


def _chunk(channels_in: int, channels_out: int, itemsize: int) -> int:
    """Tiles of one chunk: what fills most of L2, but enough to pay for reading the points."""
    fitting = (768 << 10) // (36 * itemsize * (channels_in + channels_out))
    return max(6, fitting // ROWS) * ROWS
