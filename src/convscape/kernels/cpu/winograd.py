"""3x3 and 5x5 convolution at stride 1 by Winograd's F(4x4, 3x3), F(2x2, 3x3) and F(2x2, 5x5).

    y = A^T [ (G g G^T) ⊙ (B^T d B) ] A

over tiles d of 6x6 input cells, summed over input channels; the matrices are in `winograd_points`.
36 multiplications make 4x4 outputs of a 3x3 kernel, where the sum takes 144, or 2x2 outputs of a
5x5 kernel, where it takes 100. Of small maps tiles are 4x4 cells: 16 make 2x2 outputs, where the
sum takes 36, and kernels have 16 points to transform, not 36; of a padded map of 2x2 cells 9 make
all, where the sum takes 16.
Over channels the products become as many matrix products on the register tile. Tiles are taken in
chunks whose points stay in the L2 cache. The input gradient is a forward problem with the kernel
reversed; the weight gradient is in `winograd_weight`.

One NaN or Inf spreads over its whole tile; where that matters, name
`algorithm="direct"`.

Source: A. Lavin and S. Gray, arXiv 1509.09308; blocking: A. Zlateski et al., "The Anatomy of
Efficient FFT and Winograd Convolutions on Modern CPUs", ICS 2019.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import winograd_chunks, winograd_deep
from convscape.kernels.cpu.bound import Bound, Launch
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.winograd_call import Call
from convscape.kernels.cpu.winograd_form import Form, form_of
from convscape.kernels.cpu.winograd_weight import bind_weight, weight_grad

__all__ = ["bind", "bind_weight", "forward", "input_grad", "weight_grad"]


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    threads: int,
    relu: bool | float = False,
) -> Array:
    """The convolution; arguments and result as in `convscape.kernels.cpu.gemm.forward`."""
    call = _call_of(geometry, x.shape, None, x.dtype, threads)
    return call.convolve(x, weight, bias, relu, None)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`.

    dx is dy convolved under the adjoint window, the kernel reversed and its channels swapped.
    """
    call = _call_of(geometry, dy.shape, spatial, dy.dtype, threads)
    return call.convolve(dy, weight, None, False, None)


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    weight_strides: tuple[int, ...], dtype: str, threads: int, packs: bool = True,
    spatial: tuple[int, int] | None = None,
) -> Bound | None:  # fmt: skip
    """`forward` or `input_grad`, as `convscape.kernels.cpu.gemm.bind`; no weights are packed."""
    call = _call_of(geometry, tuple(shape), spatial, np.dtype(dtype), threads)
    return call.bound(strides, geometry.weight_shape, weight_strides, packs)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Call(Call):
    """A call on two axes, whose workspace has the kernels' points where all are made at once.

    Args:
        form: Of the transforms.
        corner: What the first tile reads of padding above and on the left.
    """

    form: Form
    corner: tuple[int, int]

    def launches(self, kernels: tuple[int, ...], packs: bool, relu: bool) -> list[Launch]:
        """What computes it; no weights are packed beforehand."""
        size, sk, sc, *cells = kernels
        steps = (sc, sk, *cells) if self.adjoint else (sk, sc, *cells)
        (_, c, h, w), (n, _, rows, columns) = self.shape, self.result
        sizes = prod(self.shape), size, prod(self.result)
        fixed = (
            self.form, (h * w * c, w * c, c), (h, w), steps, self.adjoint, self.channels,
            self.no_bias.dtype, relu, (n, rows, columns), self.corner, self.threads,
        )  # fmt: skip
        if self.room == 0:
            return winograd_deep.launches(sizes, *fixed)
        return winograd_chunks.launches(sizes, self.room, *fixed)


@lru_cache(maxsize=1024)
def _call_of(
    geometry: Geometry, shape: tuple[int, ...], spatial: tuple[int, int] | None,
    dtype: np.dtype[Any], threads: int,
) -> _Call:  # fmt: skip
    """The forward pass of an input of this shape, or with `spatial` the gradient from dy."""
    n, c, h, w = shape
    adjoint = spatial is not None
    grid = spatial if spatial is not None else geometry.outputs((h, w))
    k = geometry.in_channels if adjoint else geometry.out_channels
    form, lanes = form_of(geometry, n, (h, w), tuple(grid)), SIMD.lanes(dtype.itemsize)
    top, left = (
        (axis.kernel - 1 - axis.padding[0] if adjoint else axis.padding[0]) - form.inner
        for axis in geometry.windows
    )
    at_once = form.makes_all_points(form.tiles(n, grid), (c, k), dtype.itemsize)
    points = form.points * (-(-k // lanes) * lanes * c + lanes) if at_once else 0
    return _Call(
        adjoint=adjoint, shape=shape, result=(n, k, grid[0], grid[1]), no_bias=np.zeros(k, dtype),
        threads=threads, room=points, form=form, corner=(top, left),
    )  # fmt: skip
