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

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound, Launch, lies_at, place
from convscape.kernels.cpu.gemm_weight import bind_weight, weight_grad
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.winograd_axis_part import multiply_part, pack_part
from convscape.kernels.cpu.winograd_call import BIAS, MADE, WEIGHT, Call, X, Y, division
from convscape.kernels.cpu.winograd_form import EDGE, axis_form, axis_of

__all__ = ["bind", "bind_weight", "forward", "input_grad", "pack", "weight_grad"]


def pack(weight: Array, geometry: Geometry, threads: int) -> Array:
    """The kernels' points, as `convscape.kernels.cpu.gemm.pack`; of twice the weights' size."""
    kernels, (sk, sc, *cells) = flat(weight)
    k, c, *_ = geometry.weight_shape
    axis = axis_of(geometry)
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
    call = _call_of(geometry, x.shape, None, x.dtype, threads)
    return call.convolve(x, weight, bias, relu, weights)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`."""
    call = _call_of(geometry, dy.shape, spatial, dy.dtype, threads)
    return call.convolve(dy, weight, None, False, None)


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    weight_strides: tuple[int, ...], dtype: str, threads: int, packs: bool = True,
    spatial: tuple[int, int] | None = None,
) -> Bound | None:  # fmt: skip
    """`forward` or `input_grad`, as `convscape.kernels.cpu.gemm.bind`."""
    call = _call_of(geometry, tuple(shape), spatial, np.dtype(dtype), threads)
    return call.bound(strides, geometry.weight_shape, weight_strides, packs)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Call(Call):
    """A call along one axis.

    Args:
        axis: Along which kernels lie, 0 or 1.
        taps: Of a kernel.
        low: Padding before a line's first cell.
    """

    axis: int
    taps: int
    low: int

    def launches(self, kernels: tuple[int, ...], packs: bool, relu: bool) -> list[Launch]:
        """What computes it; without packing it is told where the kernels' points are."""
        size, sk, sc, *cells = kernels
        strides = *((sc, sk) if self.adjoint else (sk, sc)), cells[self.axis]
        dtype, k = self.no_bias.dtype, self.channels[1]
        x_cells, y_cells = self.shape[2 + self.axis], self.result[2 + self.axis]
        per_image, across = self.result[3 - self.axis], -(-y_cells // EDGE)
        lines = self.result[0] * per_image
        by_lines, most = division(lines * across, k, self.threads)
        chunk = -(-lines // -(-lines // max(1, most // across)))  # chunks of one size
        lanes = SIMD.lanes(dtype.itemsize)
        made = 0 if packs else _points(self.taps, self.channels, lanes)
        return [
            Launch(
                multiply_part, self.threads,
                (place(X), place(WEIGHT), place(MADE), place(Y)),
                (prod(self.shape), size, made, prod(self.result)),
                _steps(self.shape, self.axis), _steps(self.result, self.axis), (x_cells, y_cells),
                self.low, strides, self.adjoint, self.taps, self.channels,
                lies_at(BIAS, k, dtype), relu, lanes,
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
    adjoint, axis = spatial is not None, axis_of(geometry)
    rows, columns = spatial if spatial is not None else geometry.outputs(shape[2:])
    k = geometry.in_channels if adjoint else geometry.out_channels
    window = geometry.windows[axis]
    low = window.kernel - 1 - window.padding[0] if adjoint else window.padding[0]
    return _Call(
        adjoint=adjoint, shape=shape, result=(shape[0], k, rows, columns),
        no_bias=np.zeros(k, dtype), threads=threads, axis=axis, taps=window.kernel, low=low,
    )  # fmt: skip


def _steps(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Elements from image to image, line to line and cell to cell of channels-last memory."""
    _, c, h, w = shape
    return h * w * c, *((w * c, c) if axis == 1 else (c, w * c))


def _points(taps: int, channels: tuple[int, int], lanes: int) -> int:
    """Numbers of all kernels' points."""
    c, k = channels
    points, pieces, _ = axis_form(taps)
    return points * pieces * c * -(-k // lanes) * lanes
