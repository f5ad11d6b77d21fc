"""Convolution along one axis at stride 1, 1xN or Nx1, by Winograd's F(4, 3) and F(4, 4).

    y[4 j + i] = Σ_p A^T [ (G g_p) ⊙ (B^T d_{j + p}) ]_i

Lines are cut into tiles of four outputs. A kernel of three cells is taken whole: 6 products make
what the plain sum takes 12 for. Longer ones are cut into pieces g_p of four cells, the last filled
up with zeros; each takes 7 products for 16. A piece reads the input one tile further on: so the
tiles' points are made once for all pieces, and lie in memory such that a tile's and its
neighbours' are one run of a matrix product over channels and pieces together.

The input gradient is a forward problem with the kernel reversed. The weight gradient is the matrix
product's. One NaN or Inf spreads over its tile's outputs; where that matters, name
`algorithm="direct"`.

Source: S. Winograd, "Arithmetic Complexity of Computations", SIAM 1980; A. Lavin and S. Gray, arXiv
1509.09308.
"""

from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at, place
from convscape.kernels.cpu.clip import limit
from convscape.kernels.cpu.gemm_weight import bind_weight, weight_grad
from convscape.kernels.cpu.layout import Array, flat, is_channels_last, lies_last, padded, plain
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.winograd_axis_part import multiply_part, pack_part
from convscape.kernels.cpu.winograd_form import EDGE, axis_form

__all__ = ["bind", "bind_weight", "forward", "input_grad", "pack", "weight_grad"]

_X, _WEIGHT, _MADE, _Y, _BIAS = range(5)  # addresses that launches are told
_TILES = 17 * ROWS  # tiles of one thread at once
_TILE = 3  # what a tile's transform costs, in kernels of as many input channels


def pack(weight: Array, geometry: Geometry, threads: int) -> Array:
    """The kernels' points, as `convscape.kernels.cpu.gemm.pack`; of twice the weights' size."""
    kernels, (sk, sc, *cells) = flat(weight)
    k, c, *_ = geometry.weight_shape
    axis = _axis(geometry)
    taps, lanes = geometry.kernel[axis], SIMD.lanes(weight.itemsize)
    made = workspace.empty(_points(taps, (c, k), lanes), weight.dtype)
    launch(
        pack_part, threads, (workspace.address(kernels), workspace.address(made)),
        (kernels.size, made.size), (sk, sc, cells[axis]), False, taps, (c, k), lanes,
        np.empty(0, weight.dtype),
    )  # fmt: skip
    return made


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
    return _convolve(x, weight, bias, relu, geometry, None, threads, weights)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`."""
    return _convolve(dy, weight, None, False, geometry, spatial, threads)


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    weight_strides: tuple[int, ...], dtype: str, threads: int, packs: bool = True,
    spatial: tuple[int, int] | None = None,
) -> Bound | None:  # fmt: skip
    """`forward` or `input_grad`, as `convscape.kernels.cpu.gemm.bind`."""
    call = _call_of(geometry, tuple(shape), spatial, np.dtype(dtype), threads)
    if not lies_last(shape, strides) or prod(call.result) == 0 or min(weight_strides) < 0:
        return None
    places = zip(geometry.weight_shape, weight_strides, strict=True)
    size = 1 + sum((m - 1) * step for m, step in places)
    fill = partial(call, (size, *weight_strides), packs)
    return Bound((Result.of(call.result, call.no_bias.dtype, True),), fill)


def _convolve(
    x: Array, weight: Array, bias: Array | None, relu: bool | float, geometry: Geometry,
    spatial: tuple[int, int] | None, threads: int, made: Array | None = None,
) -> Array:  # fmt: skip
    """The convolution, or with `spatial` its input gradient, from arrays of any strides."""
    call = _call_of(geometry, x.shape, spatial, x.dtype, threads)
    n, k, h, w = call.result
    y = workspace.empty(n * k * h * w, x.dtype)
    if y.size:
        memory, _ = padded(x, ((0, 0), (0, 0)), threads)
        kernels, steps = flat(weight)
        at, weights, result = map(workspace.address, (memory, kernels, y))
        given = 0 if made is None else workspace.address(made)
        call((kernels.size, *steps), made is None, at, weights, given, result, bias, relu)
    y = y.reshape(n, h, w, k)
    return y.transpose(0, 3, 1, 2) if is_channels_last(x) else plain(y, threads)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A convolution of channels-last memory of which all is known but where things lie.

    Args:
        adjoint: Whether it is an input gradient: the kernels are reversed, their channels swapped.
        axis: Along which kernels lie, 0 or 1.
        size: Elements of the input.
        steps: Elements from image to image, line to line and cell to cell, of input and output.
        cells: Along a line, of input and output.
        low: Padding before a line's first cell.
        taps: Of a kernel.
        channels: Input and output channels.
        lines: Of all images, and of one.
        result: Shape of the output.
        no_bias: Zeros.
        threads: Threads to use.
        known: Its launches, by the weights' elements and strides, whether their points are made
            here, and whether there is a ReLU.
    """

    adjoint: bool
    axis: int
    size: int
    steps: tuple[tuple[int, int, int], tuple[int, int, int]]
    cells: tuple[int, int]
    low: int
    taps: int
    channels: tuple[int, int]
    lines: tuple[int, int]
    result: tuple[int, int, int, int]
    no_bias: Array
    threads: int
    known: dict[Any, list[Launch]] = field(default_factory=dict)

    def __call__(
        self, kernels: tuple[int, ...], packs: bool, x: int, weight: int, made: int, y: int,
        bias: Array | None, relu: bool | float,
    ) -> None:  # fmt: skip
        """Compute, given the weights' elements and strides, and the addresses of all.

        Unless it `packs`, it is told where the kernels' points are.
        """
        key = kernels, packs, bool(relu)
        launches = self.known.get(key)
        if launches is None:
            launches = self.known[key] = self._launches(*key)
        none = self.no_bias
        added = none if bias is None else np.ascontiguousarray(bias, none.dtype)
        for one in launches:
            one(x, weight, made, y, workspace.address(added))
        if not isinstance(relu, bool):
            limit(y, prod(self.result), relu, none.dtype, self.threads)

    def _launches(self, kernels: tuple[int, ...], packs: bool, relu: bool) -> list[Launch]:
        size, sk, sc, *cells = kernels
        strides = (sc, sk) if self.adjoint else (sk, sc)
        dtype, k = self.no_bias.dtype, self.channels[1]
        across = -(-self.cells[1] // EDGE)
        lines, per_image = self.lines
        by_lines = lines * across * _TILE > k
        most = max(1, (_TILES * self.threads if by_lines else _TILES) // across)
        chunk = -(-lines // -(-lines // most))  # chunks of one size
        places = place(_X), place(_WEIGHT), place(_MADE), place(_Y)
        made = _points(self.taps, self.channels, SIMD.lanes(dtype.itemsize))
        return [
            Launch(
                multiply_part, self.threads,
                places, (self.size, size, 0 if packs else made, prod(self.result)), *self.steps,
                self.cells, self.low, (*strides, cells[self.axis]), self.adjoint, self.taps,
                self.channels, lies_at(_BIAS, k, dtype), relu, SIMD.lanes(dtype.itemsize),
                (first, min(first + chunk, lines), per_image), by_lines, packs,
            )
            for first in range(0, lines, chunk)
        ]  # fmt: skip


@lru_cache(maxsize=1024)
def _call_of(
    geometry: Geometry, shape: tuple[int, ...], spatial: tuple[int, int] | None,
    dtype: np.dtype[Any], threads: int,
) -> _Call:  # fmt: skip
    """The forward pass of an input of this shape, or with `spatial` the gradient from dy."""
    n, c, *size = shape
    adjoint = spatial is not None
    grid = spatial if spatial is not None else geometry.outputs(size)
    k = geometry.in_channels if adjoint else geometry.out_channels
    axis = _axis(geometry)
    window = geometry.windows[axis]
    low = window.kernel - 1 - window.padding[0] if adjoint else window.padding[0]
    steps = []
    for (h, w), many in ((size, c), (grid, k)):
        line, cell = (w * many, many) if axis == 1 else (many, w * many)
        steps.append((h * w * many, line, cell))
    return _Call(
        adjoint, axis, prod(shape), (steps[0], steps[1]), (size[axis], grid[axis]), low,
        window.kernel, (c, k), (n * grid[1 - axis], grid[1 - axis]), (n, k, grid[0], grid[1]),
        np.zeros(k, dtype), threads,
    )  # fmt: skip


def _axis(geometry: Geometry) -> int:
    """The axis along which kernels lie."""
    return 0 if geometry.kernel[1] == 1 else 1


def _points(taps: int, channels: tuple[int, int], lanes: int) -> int:
    """Numbers of all kernels' points."""
    c, k = channels
    points, pieces, _ = axis_form(taps)
    return points * pieces * c * -(-k // lanes) * lanes
