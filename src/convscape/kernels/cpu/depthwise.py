"""Depthwise convolution: every channel has its own kernel, so the vectors run over channels.

    y[n, c, h, w] = bias[c] + Σ_{r, s} weight[c, r, s] x[n, c, h stride - low + r dilation, ...]

There are few multiply-adds per value read: memory is the limit, not arithmetic. So nothing is
padded or copied beside the result, and a tile of pixels is read, summed in registers and written
once.
All three problems are one walk over the lines of an output, see `depthwise_lines`:

- forward: an output line weighs the input lines it meets;
- input gradient: the same, over the adjoint window; a stride splits a line into phases;
- weight gradient: a line of dy is multiplied with the input lines it meets, and summed.

Source: the operation: F. Chollet, "Xception", arXiv 1610.02357; adjoint windows: V. Dumoulin and
F. Visin, arXiv 1603.07285, section 4.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import depthwise_lines as lines
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.clip import bounds
from convscape.kernels.cpu.depthwise_plan import plan
from convscape.kernels.cpu.layout import Array, blank, is_channels_last
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch

_NEAR = 256 << 10  # bytes of an image's rows in channels-last order: they stay in the L2 cache
_SPLIT_FROM = 200_000  # products, about 8 microseconds of one thread
_TOGETHER = 8  # vectors of channels for which a tile's addresses are written once, at most


def pack(weight: Array, geometry: Geometry, threads: int) -> Array:
    """What `forward` makes of the weights, as `convscape.kernels.cpu.gemm.pack`."""
    channels, lanes, cells = len(weight), SIMD.lanes(weight.itemsize), prod(weight.shape[2:])
    blocks = -(-channels // lanes)
    packed = workspace.empty(blocks * lanes * cells, weight.dtype)
    memory = np.ascontiguousarray(weight).reshape(-1)
    lines.pack(memory, np.arange(cells), channels, lanes, (0, blocks), packed)
    return packed


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    threads: int,
    relu: bool | float = False,
    weights: Array | None = None,
) -> Array:
    """The convolution; arguments and result as in `convscape.kernels.cpu.gemm.forward`."""
    return _weigh(x, weight, weights, bias, geometry, x.shape[2:], False, threads, bounds(relu))


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`."""
    return _weigh(dy, weight, None, None, geometry, tuple(spatial), True, threads, bounds(False))


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as in `convscape.kernels.cpu.gemm.weight_grad`."""
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    direct = is_channels_last(x) and x.shape[1] >= SIMD.lanes(x.itemsize)
    walk = _walk(geometry, x.shape, x.shape[2:], False, True, direct, x.itemsize, threads)
    dw = np.empty(geometry.weight_shape, x.dtype)
    along = walk.threads // walk.sizes[3]
    sums = dw.reshape(-1) if along == 1 else np.empty(along * walk.cells, x.dtype)
    launch(
        walk.kernel, walk.threads, True, _in_line(x, direct), _in_line(dy, direct), x.shape[:2],
        *walk.plan, walk.sizes, along > 1, sums, sums, bounds(False),
    )  # fmt: skip
    if along > 1:
        lanes, _, blocks = walk.sizes[:3]
        lines.unpack(sums, along, x.shape[1], lanes, (0, blocks), dw.reshape(-1))
    return dw


def _weigh(
    x: Array, weight: Array, packed: Array | None, bias: Array | None, geometry: Geometry,
    spatial: tuple[int, ...], adjoint: bool, threads: int, limits: tuple[float, float],
) -> Array:  # fmt: skip
    """The forward pass over a plan."""
    n, channels = x.shape[:2]
    last = is_channels_last(x)
    direct = last and channels >= SIMD.lanes(x.itemsize)
    walk = _walk(geometry, x.shape, spatial, adjoint, False, direct, x.itemsize, threads)
    line, y = blank((n, channels, *walk.outputs), x.dtype, direct)
    if y.size:
        arranged = packed is not None
        launch(
            walk.kernel, walk.threads, False, _in_line(x, direct), line, x.shape[:2],
            *walk.plan, walk.sizes, arranged,
            packed if arranged else np.ascontiguousarray(weight).reshape(-1),
            np.zeros(channels, x.dtype) if bias is None else np.ascontiguousarray(bias), limits,
        )  # fmt: skip
    if direct == last:
        return y
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class _Walk:
    """What a walk over the lines of an output is, arrays of numbers apart.

    Args:
        kernel: The kernel, for the order of memory in which images are computed.
        plan: The kernel's arguments about the geometry.
        taps: Kernel cells that meet an output.
        outputs: (H', W').
        sizes: The kernel's argument about memory: lanes, elements of a block's cells, blocks, ways
            in which blocks are shared, and in plain order the rows and blocks at once.
        cells: Elements that all blocks' cells have.
        threads: Threads to use.
    """

    kernel: Any
    plan: tuple[Any, ...]
    taps: int
    outputs: tuple[int, ...]
    sizes: tuple[int, int, int, int, int, int]
    cells: int
    threads: int


@lru_cache(maxsize=1024)
def _walk(
    geometry: Geometry, shape: tuple[int, ...], spatial: tuple[int, ...], adjoint: bool,
    adding: bool, direct: bool, itemsize: int, threads: int,
) -> _Walk:  # fmt: skip
    """The walk for an array of this shape: the input, or with `adjoint` dy."""
    way = plan(geometry, spatial, adjoint, lines.TILES, adding)
    lanes = SIMD.lanes(itemsize)
    step, blocks = way.taps * lanes, -(-shape[1] // lanes)
    h_in, w_in, h_out, w_out = way.shape
    plane = (h_in * w_in + h_out * w_out) * lanes * itemsize
    together = min(_TOGETHER, blocks, max(1, _NEAR // plane))
    most = max(1, min(h_out, h_out * _NEAR // plane))
    products = shape[0] * shape[1] * min(h_out * w_out, h_in * w_in) * way.taps
    threads = max(threads, 1) if products >= _SPLIT_FROM else 1
    # Shares of different channels have sums and planes of their own. Results beside each other are
    # written by one core: what it fetches ahead belongs to the next pixel, not to another core.
    across = min(threads, blocks) if adding or not direct else 1
    return _Walk(
        lines.direct_part if direct else lines.planes_part,
        (way.order, way.rows, way.segments, way.cells, way.shape), way.taps, (h_out, w_out),
        (lanes, step, blocks, across, most, together), blocks * step, threads - threads % across,
    )  # fmt: skip


def _in_line(x: Array, last: bool) -> Array:
    return (x.transpose(0, 2, 3, 1) if last else x).ravel()
