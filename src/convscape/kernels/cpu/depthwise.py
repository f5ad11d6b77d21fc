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
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at
from convscape.kernels.cpu.clip import Clipped, bounds
from convscape.kernels.cpu.depthwise_plan import plan
from convscape.kernels.cpu.layout import Array, blank, is_channels_last, order_of
from convscape.kernels.cpu.simd import SIMD

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
    return _weigh(x, weight, weights, bias, geometry, x.shape[2:], False, threads, relu)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`."""
    return _weigh(dy, weight, None, None, geometry, tuple(spatial), True, threads, False)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as in `convscape.kernels.cpu.gemm.weight_grad`."""
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    direct = is_channels_last(x) and x.shape[1] >= SIMD.lanes(x.itemsize)
    launch, walk, along = _weight_launch(geometry, x.shape, dy.shape, direct, x.dtype, threads)
    dw = np.empty(geometry.weight_shape, x.dtype)
    sums = dw.reshape(-1) if along == 1 else np.empty(along * walk.cells, x.dtype)
    given = _in_line(x, direct), _in_line(dy, direct), sums
    launch(*map(workspace.address, given))
    if along > 1:
        lanes, _, blocks = walk.sizes[:3]
        lines.unpack(sums, along, x.shape[1], lanes, (0, blocks), dw.reshape(-1))
    return dw


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    weight_strides: tuple[int, ...], dtype: str, threads: int, packs: bool = True,
    spatial: tuple[int, int] | None = None,
) -> Bound | None:  # fmt: skip
    """`forward` or `input_grad`, as `convscape.kernels.cpu.gemm.bind`."""
    kind = np.dtype(dtype)
    dense = order_of(geometry.weight_shape, weight_strides) is not None
    if order_of(shape, strides) is not True or shape[1] < SIMD.lanes(kind.itemsize) or not dense:
        return None
    outputs = tuple(shape[2:]) if spatial is None else spatial
    call = _call(
        geometry, tuple(shape), outputs, spatial is not None, True, not packs, kind, threads
    )
    if 0 in call.outputs:
        return None
    return Bound((Result.of((*shape[:2], *call.outputs), kind, True),), call)


@lru_cache(maxsize=1024)
def bind_weight(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    dy_shape: tuple[int, ...], dy_strides: tuple[int, ...], dtype: str, threads: int,
) -> Bound | None:  # fmt: skip
    """`weight_grad`, as `convscape.kernels.cpu.gemm.bind_weight`."""
    kind = np.dtype(dtype)
    last = order_of(shape, strides), order_of(dy_shape, dy_strides)
    if last != (True, True) or shape[1] < SIMD.lanes(kind.itemsize):
        return None
    launch, _, along = _weight_launch(geometry, tuple(shape), tuple(dy_shape), True, kind, threads)
    if along > 1:
        return None

    def fill(x: int, dy: int, _packed: int, dw: int, _bias: object, _relu: object) -> None:
        launch(x, dy, dw)

    return Bound((Result.of(geometry.weight_shape, kind, False),), fill)


def _weigh(
    x: Array, weight: Array, packed: Array | None, bias: Array | None, geometry: Geometry,
    spatial: tuple[int, ...], adjoint: bool, threads: int, relu: bool | float,
) -> Array:  # fmt: skip
    """The forward pass over a plan."""
    n, channels = x.shape[:2]
    last = is_channels_last(x)
    direct = last and channels >= SIMD.lanes(x.itemsize)
    arranged = packed is not None
    call = _call(geometry, x.shape, spatial, adjoint, direct, arranged, x.dtype, threads)
    line, y = blank((n, channels, *call.outputs), x.dtype, direct)
    if y.size:
        given = packed if packed is not None else np.ascontiguousarray(weight).reshape(-1)
        held = _in_line(x, direct), given, line
        at, weights, to = map(workspace.address, held)
        call(at, weights, weights, to, bias, relu)
    if direct == last:
        return y
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


class _Call:
    """A forward pass, or an input gradient, of which all is known but where things lie."""

    def __init__(
        self, walk: "_Walk", shape: tuple[int, ...], arranged: bool, weights: int,
        dtype: np.dtype[Any],
    ) -> None:  # fmt: skip
        self.outputs = walk.outputs
        self._walk, self._shape, self._arranged, self._weights = walk, shape, arranged, weights
        self._no_bias = np.zeros(shape[1], dtype)
        self._launches = Clipped(self._launch)

    def __call__(
        self, x: int, weight: int, packed: int, y: int, bias: Array | None, relu: bool | float
    ) -> None:
        """Compute, as `convscape.kernels.cpu.gemm_call.Call`."""
        none = self._no_bias
        given = none if bias is None else np.ascontiguousarray(bias, none.dtype)
        weights = packed if self._arranged else weight
        self._launches(relu)(x, y, weights, workspace.address(given))

    def _launch(self, limits: tuple[float, float]) -> Launch:
        walk, dtype = self._walk, self._no_bias.dtype
        sizes = prod(self._shape), prod(self._shape[:2]) * prod(walk.outputs)
        return Launch(
            walk.kernel, walk.threads, False,
            lies_at(0, sizes[0], dtype), lies_at(1, sizes[1], dtype), self._shape[:2],
            *walk.plan, walk.sizes, self._arranged, lies_at(2, self._weights, dtype),
            lies_at(3, self._shape[1], dtype), limits,
        )  # fmt: skip


@lru_cache(maxsize=1024)
def _call(
    geometry: Geometry, shape: tuple[int, ...], spatial: tuple[int, ...], adjoint: bool,
    direct: bool, arranged: bool, dtype: np.dtype[Any], threads: int,
) -> _Call:  # fmt: skip
    walk = _walk(geometry, shape, spatial, adjoint, False, direct, dtype.itemsize, threads)
    weights = walk.cells if arranged else prod(geometry.weight_shape)
    return _Call(walk, shape, arranged, weights, dtype)


@lru_cache(maxsize=1024)
def _weight_launch(
    geometry: Geometry, shape: tuple[int, ...], dy: tuple[int, ...], direct: bool,
    dtype: np.dtype[Any], threads: int,
) -> tuple[Launch, "_Walk", int]:  # fmt: skip
    """What computes a weight gradient, told where x, dy and the sums begin, and its walk.

    And how many sums there are of each weight: of several, the weights are still to be made.
    """
    walk = _walk(geometry, shape, shape[2:], False, True, direct, dtype.itemsize, threads)
    along = walk.threads // walk.sizes[3]
    count = along * walk.cells if along > 1 else prod(geometry.weight_shape)
    sums = lies_at(2, count, dtype)
    launch = Launch(
        walk.kernel, walk.threads, True,
        lies_at(0, prod(shape), dtype), lies_at(1, prod(dy), dtype), shape[:2],
        *walk.plan, walk.sizes, along > 1, sums, sums, bounds(False),
    )  # fmt: skip
    return launch, walk, along


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
