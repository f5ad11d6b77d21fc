"""3x3 and 5x5 convolution at stride 1 by Winograd's F(4x4, 3x3) and F(2x2, 5x5).

    y = A^T [ (G g G^T) ⊙ (B^T d B) ] A

over tiles d of 6x6 input cells, summed over input channels; the matrices are in `winograd_points`.
36 multiplications make 4x4 outputs of a 3x3 kernel, where the sum takes 144, or 2x2 outputs of a
5x5 kernel, where it takes 100. Over channels the products become 36 matrix products on the register
tile. Tiles are taken in chunks whose points stay in the L2 cache. The input gradient is a forward
problem with the kernel reversed; the weight gradient is in `winograd_weight`.

One NaN or Inf spreads over its whole tile; where that matters, name
`algorithm="direct"`.

Source: A. Lavin and S. Gray, arXiv 1509.09308; blocking: A. Zlateski et al., "The Anatomy of
Efficient FFT and Winograd Convolutions on Modern CPUs", ICS 2019.
"""

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu import winograd_deep
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array, flat, is_channels_last, padded, plain
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import block_vectors, multiply, multiply_add
from convscape.kernels.cpu.winograd_kernels import block_points, turning_block
from convscape.kernels.cpu.winograd_tiles import load_tile, store_tile
from convscape.kernels.cpu.winograd_weight import weight_grad

__all__ = ["forward", "input_grad", "weight_grad"]

_POINTS = 9 << 20  # bytes of kernels' points from which on they outgrow the cache
_FEW = 200  # tiles that do not pay for writing and reading the kernels' points
_DEPTH = 32  # channels of one piece of a sum: longer ones lose digits

# --- the kernels -------------------------------------------------------------------------------


@team
def _kernel_part(part, parts, edge, weight, strides, flip, channels, lanes, points):
    """Points [36][block][c][lane] of (k, c, side, side) weights; a share of the input channels."""
    if divide(part, parts):
        return
    c_size, k_size = channels
    wide = (k_size + lanes - 1) // lanes * lanes
    low, high = c_size * part // parts, c_size * (part + 1) // parts
    block = turning_block(edge, weight, lanes)
    k0 = 0
    while k0 < k_size:
        width = block_vectors(k_size - k0, lanes) * lanes
        for c0 in range(low, high, _DEPTH):
            block_points(
                edge, weight, strides, flip, c0, min(_DEPTH, high - c0), k0,
                min(width, k_size - k0), width, lanes, block, points, k0 * c_size + c0 * width,
                wide * c_size + lanes,
            )  # fmt: skip
        k0 += width


@team
def _forward_part(
    part, parts, edge, x, strides, size, channels, points, bias, relu, lanes, y, grid, corner, chunk
):
    """A share of the output tiles: transform, 36 matrix products and back, chunk by chunk."""
    if divide(part, parts):
        return
    n_size, h_size, w_size = grid
    c_size, k_size = channels
    down, across = (h_size + edge - 1) // edge, (w_size + edge - 1) // edge
    tiles = n_size * down * across
    first, last = tiles * part // parts, tiles * (part + 1) // parts
    wide = (k_size + lanes - 1) // lanes * lanes
    # The 36 planes lie one cache line off a multiple of the page, or they would all compete for
    # the same few sets of the cache.
    plane, result, step = chunk * c_size + lanes, chunk * wide + lanes, wide * c_size + lanes
    spread = scratch(36 * plane, x)
    products = scratch(36 * result, x)
    patch = scratch(36 * c_size, x)
    block = scratch(edge * edge * wide, x)
    within, patched = np.empty(36, np.int64), np.empty(36, np.int64)
    spreads, gathered = np.empty(36, np.int64), np.empty(36, np.int64)
    placed, blocked = np.empty(edge * edge, np.int64), np.empty(edge * edge, np.int64)
    for e in range(36):
        within[e] = e // 6 * strides[1] + e % 6 * strides[2]
        patched[e] = e * c_size
        spreads[e] = e * plane
        gathered[e] = e * result
    for o in range(edge * edge):
        placed[o] = (o // edge * w_size + o % edge) * k_size
        blocked[o] = o * wide
    rows = np.arange(chunk) * c_size
    for start in range(first, last, chunk):
        count = min(chunk, last - start)
        for t in range(count):
            line, tx = divmod(start + t, across)
            n, ty = divmod(line, down)
            load_tile(
                x, strides, size, c_size, ty * edge - corner[0], tx * edge - corner[1],
                n * strides[0], within, patch, patched, spread, t * c_size, spreads,
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
            corner_at = ((n * h_size + ty * edge) * w_size + tx * edge) * k_size
            k0 = 0
            while k0 < k_size:
                width = block_vectors(k_size - k0, lanes) * lanes
                store_tile(
                    edge, products, k0 * chunk + t * width, gathered, y, corner_at + k0, placed,
                    min(width, k_size - k0), bias, k0, relu, ty * edge, tx * edge,
                    (h_size, w_size), block, blocked,
                )  # fmt: skip
                k0 += width


# --- the problems ------------------------------------------------------------------------------


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    threads: int,
    relu: bool | float = False,
) -> Array:
    """The convolution; arguments and result as in `convscape.kernels.cpu.gemm.forward`."""
    outputs = geometry.output_shape(x.shape[2:])[1:]
    corner = tuple(w.padding[0] for w in geometry.windows)
    y = _convolve(x, weight, False, bias, bool(relu), (outputs[0], outputs[1]), corner, threads)
    # No well-known network has an upper bound here: it is a pass of its own.
    return y if isinstance(relu, bool) else np.minimum(y, relu, out=y)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`.

    dx is dy convolved under the adjoint window, the kernel reversed and its channels swapped.
    """
    corner = tuple(w.kernel - 1 - w.padding[0] for w in geometry.windows)
    return _convolve(dy, weight.swapaxes(0, 1), True, None, False, spatial, corner, threads)


def _convolve(
    x: Array,
    weight: Array,
    flip: bool,
    bias: Array | None,
    relu: bool,
    outputs: tuple[int, int],
    corner: tuple[int, ...],
    threads: int,
) -> Array:
    """Correlate with square kernels, or the reversed ones; cell (0, 0) reads from -corner."""
    n, c, h, w = x.shape
    k, edge = weight.shape[0], 7 - weight.shape[2]
    y = workspace.empty(n * outputs[0] * outputs[1] * k, x.dtype)
    if y.size:
        memory, strides = padded(x, ((0, 0), (0, 0)), threads)
        bias = np.zeros(k, x.dtype) if bias is None else np.ascontiguousarray(bias)
        kernels, kernel_strides = flat(weight)
        lanes, grid = SIMD.lanes(x.itemsize), (n, *outputs)
        tiles = n * -(-outputs[0] // edge) * -(-outputs[1] // edge)
        if tiles <= _FEW or 36 * x.itemsize * c * k > _POINTS:
            winograd_deep.convolve(
                edge, memory, strides, (h, w), kernels, kernel_strides, flip, (c, k), bias, relu,
                y, grid, (corner[0], corner[1]), threads,
            )  # fmt: skip
        else:
            points = workspace.empty(36 * (-(-k // lanes) * lanes * c + lanes), x.dtype)
            launch(
                _kernel_part, threads,
                edge, kernels, kernel_strides, flip, (c, k), lanes, points,
            )  # fmt: skip
            launch(
                _forward_part, threads,
                edge, memory, strides, (h, w), (c, k), points, bias, relu, lanes, y, grid, corner,
                _chunk(c, k, x.itemsize),
            )  # fmt: skip
    y = y.reshape(n, *outputs, k)
    return y.transpose(0, 3, 1, 2) if is_channels_last(x) else plain(y, threads)


def _chunk(channels_in: int, channels_out: int, itemsize: int) -> int:
    """Tiles of one chunk: what fits in L2 beside the kernels' points, but a few rows of tiles."""
    fitting = (448 << 10) // (36 * itemsize * (channels_in + channels_out))
    return max(4, fitting // ROWS) * ROWS
