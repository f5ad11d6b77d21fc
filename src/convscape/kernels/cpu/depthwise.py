"""Depthwise convolution: every channel has its own kernel, so the vectors run over channels.

    y[n, c, h, w] = bias[c] + Σ_{r, s} weight[c, r, s] x[n, c, h stride - low + r dilation, ...]

There is one multiply-add per value read: memory is the limit, not arithmetic. So nothing is padded
or copied beside the result, and a tile of pixels is read, summed in registers and written once.
All three problems are one walk over the lines of an output, see `depthwise_lines`:

- forward: an output line weighs the input lines it meets;
- input gradient: the same, over the adjoint window; a stride splits a line into phases;
- weight gradient: a line of dy is multiplied with the input lines it meets, and summed.

Source: the operation: F. Chollet, "Xception", arXiv 1610.02357; adjoint windows: V. Dumoulin and
F. Visin, arXiv 1603.07285, section 4.
"""

from math import inf

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import depthwise_lines as lines
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.clip import bounds
from convscape.kernels.cpu.depthwise_plan import Plan, plan
from convscape.kernels.cpu.layout import Array, empty, is_channels_last
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch

_NEAR = 256 << 10  # bytes of an image's rows in channels-last order: they stay in the L2 cache
_TOGETHER = 8  # vectors of channels for which a tile's addresses are written once, at most


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    threads: int,
    relu: bool | float = False,
) -> Array:
    """The convolution; arguments and result as in `convscape.kernels.cpu.gemm.forward`."""
    way = plan(geometry, x.shape[2:], False, lines.TILES)
    return _weigh(x, weight, bias, way, threads, bounds(relu))


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`."""
    way = plan(geometry, tuple(spatial), True, lines.TILES)
    return _weigh(dy, weight, None, way, threads)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as in `convscape.kernels.cpu.gemm.weight_grad`."""
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    channels = x.shape[1]
    way = plan(geometry, x.shape[2:], False, lines.TILES)
    direct = _is_direct(x)
    lanes, step, blocks = _blocks(x, way)
    sums = np.zeros((2, max(threads, 1), blocks * step), x.dtype)
    _walk(True, x, dy, way, direct, sums[0], sums[1], threads)
    dw = np.empty(geometry.weight_shape, x.dtype)
    lines.unpack(sums[1], channels, way.taps, lanes, dw.reshape(-1))
    return dw


def _weigh(
    x: Array,
    weight: Array,
    bias: Array | None,
    way: Plan,
    threads: int,
    limits: tuple[float, float] = (-inf, inf),
) -> Array:
    """The forward pass over a plan."""
    n, channels = x.shape[:2]
    last, direct = is_channels_last(x), _is_direct(x)
    y = empty((n, channels, *way.shape[2:]), x.dtype, direct)
    if y.size:
        lanes, step, blocks = _blocks(x, way)
        packed = workspace.empty(blocks * step, x.dtype)
        lines.pack(
            np.ascontiguousarray(weight).reshape(-1),
            np.zeros(channels, x.dtype) if bias is None else np.ascontiguousarray(bias),
            limits, way.order, channels, lanes, packed,
        )  # fmt: skip
        packed = packed.reshape(1, -1)
        _walk(False, x, y, way, direct, packed, packed, threads)
    if direct == last:
        return y
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _walk(
    adding: bool, x: Array, y: Array, way: Plan, direct: bool, memory: Array, totals: Array,
    threads: int,
) -> None:  # fmt: skip
    """All lines of y, in the order of memory that suits x."""
    lanes, step, blocks = _blocks(x, way)
    h_in, w_in, h_out, w_out = way.shape
    plane = (h_in * w_in + h_out * w_out) * lanes * x.itemsize
    together = min(_TOGETHER, blocks, max(1, _NEAR // plane))
    most = max(1, min(h_out, h_out * _NEAR // plane))
    launch(
        lines.direct_team if direct else lines.planes_team, threads,
        adding, _in_line(x, direct), _in_line(y, direct), x.shape[:2],
        way.rows, way.segments, way.cells, (*way.shape, way.pixels, way.hop),
        memory, totals, (step, lanes, blocks, most, together),
    )  # fmt: skip


def _is_direct(x: Array) -> bool:
    """Whether an image is computed where it lies: channels-last, and enough for a vector."""
    return is_channels_last(x) and x.shape[1] >= SIMD.lanes(x.itemsize)


def _blocks(x: Array, way: Plan) -> tuple[int, int, int]:
    """Lanes of a vector, elements of a block's cells, and blocks."""
    lanes = SIMD.lanes(x.itemsize)
    return lanes, (way.taps + lines.BESIDE) * lanes, -(-x.shape[1] // lanes)


def _in_line(x: Array, last: bool) -> Array:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if last else x).reshape(-1)
