"""3x3 and 5x5 convolution at stride 1 by Winograd's F(4x4, 3x3) and F(2x2, 5x5).

    y = A^T [ (G g G^T) ⊙ (B^T d B) ] A

over tiles d of 6x6 input cells, summed over input channels; the matrices are in `winograd_points`.
36 multiplications make 4x4 outputs of a 3x3 kernel, where the sum takes 144, or 2x2 outputs of a
5x5 kernel, where it takes 100; of a padded map of 2x2 cells 9 make all, where the sum takes 16.
Over channels the products become as many matrix products on the register tile. Tiles are taken in
chunks whose points stay in the L2 cache. The input gradient is a forward problem with the kernel
reversed; the weight gradient is in `winograd_weight`.

One NaN or Inf spreads over its whole tile; where that matters, name
`algorithm="direct"`.

Source: A. Lavin and S. Gray, arXiv 1509.09308; blocking: A. Zlateski et al., "The Anatomy of
Efficient FFT and Winograd Convolutions on Modern CPUs", ICS 2019.
"""

from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu import winograd_chunks, winograd_deep
from convscape.kernels.cpu.bound import Bound, Launch, Result
from convscape.kernels.cpu.clip import limit
from convscape.kernels.cpu.layout import (
    Array,
    flat,
    is_channels_last,
    lies_last,
    padded,
    plain,
)
from convscape.kernels.cpu.simd import SIMD
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
    return _convolve(x, weight, bias, relu, geometry, None, threads)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as in `convscape.kernels.cpu.gemm.input_grad`.

    dx is dy convolved under the adjoint window, the kernel reversed and its channels swapped.
    """
    return _convolve(dy, weight, None, False, geometry, spatial, threads)


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    weight_strides: tuple[int, ...], dtype: str, threads: int, packs: bool = True,
    spatial: tuple[int, int] | None = None,
) -> Bound | None:  # fmt: skip
    """`forward` or `input_grad`, as `convscape.kernels.cpu.gemm.bind`; no weights are packed."""
    call = _call_of(geometry, tuple(shape), spatial, np.dtype(dtype), threads)
    if not lies_last(shape, strides) or call.sizes[2] == 0 or min(weight_strides) < 0:
        return None
    n, h, w = call.grid
    places = zip(geometry.weight_shape, weight_strides, strict=True)
    size = 1 + sum((m - 1) * step for m, step in places)
    fill = partial(call, (size, *weight_strides))
    return Bound((Result.of((n, call.channels[1], h, w), dtype, True),), fill)


def _convolve(
    x: Array, weight: Array, bias: Array | None, relu: bool | float, geometry: Geometry,
    spatial: tuple[int, int] | None, threads: int,
) -> Array:  # fmt: skip
    """The convolution, or with `spatial` its input gradient, from arrays of any strides."""
    call = _call_of(geometry, x.shape, spatial, x.dtype, threads)
    y = workspace.empty(call.sizes[2], x.dtype)
    if y.size:
        memory, _ = padded(x, ((0, 0), (0, 0)), threads)
        kernels, steps = flat(weight)
        at, weights, result = map(workspace.address, (memory, kernels, y))
        call((kernels.size, *steps), at, weights, 0, result, bias, relu)
    y = y.reshape(*call.grid, call.channels[1])
    return y.transpose(0, 3, 1, 2) if is_channels_last(x) else plain(y, threads)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A convolution of channels-last memory of which all is known but where things lie.

    Args:
        adjoint: Whether it is an input gradient: the kernels are reversed, their channels swapped.
        form: Of the transforms.
        sizes: Elements of the input, of the kernels' points (0 where they are not all made at
            once) and of the output.
        strides: Of the input's n, h and w, in elements.
        size: (H, W) of the input.
        channels: Input and output channels.
        grid: (n, h, w) of the output.
        corner: What the first tile reads of padding above and on the left.
        no_bias: Zeros.
        threads: Threads to use.
        known: Its launches, by the weights' elements and strides and whether there is a ReLU.
    """

    adjoint: bool
    form: Form
    sizes: tuple[int, int, int]
    strides: tuple[int, int, int]
    size: tuple[int, int]
    channels: tuple[int, int]
    grid: tuple[int, int, int]
    corner: tuple[int, int]
    no_bias: Array
    threads: int
    known: dict[Any, list[Launch]] = field(default_factory=dict)

    def __call__(
        self, kernels: tuple[int, ...], x: int, weight: int, _packed: int, y: int,
        bias: Array | None, relu: bool | float,
    ) -> None:  # fmt: skip
        """Compute, given the weights' elements and strides, and the addresses of all."""
        launches = self.known.get((kernels, bool(relu)))
        if launches is None:
            launches = self.known[kernels, bool(relu)] = self._launches(kernels, bool(relu))
        none = self.no_bias
        added = none if bias is None else np.ascontiguousarray(bias, none.dtype)
        # Both live as long as this call.
        points = workspace.empty(self.sizes[1], none.dtype) if self.sizes[1] else none
        places = x, weight, y, workspace.address(added), workspace.address(points)
        for launch in launches:
            launch(*places)
        if not isinstance(relu, bool):
            # No well-known network has an upper bound here: it is a pass of its own.
            limit(y, self.sizes[2], relu, none.dtype, self.threads)

    def _launches(self, kernels: tuple[int, ...], relu: bool) -> list[Launch]:
        size, sk, sc, *cells = kernels
        steps = (sc, sk, *cells) if self.adjoint else (sk, sc, *cells)
        inputs, points, outputs = self.sizes
        fixed = (
            self.form, self.strides, self.size, steps, self.adjoint, self.channels,
            self.no_bias.dtype, relu, self.grid, self.corner, self.threads,
        )  # fmt: skip
        if points == 0:
            return winograd_deep.launches((inputs, size, outputs), *fixed)
        return winograd_chunks.launches((inputs, size, outputs), points, *fixed)


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
    form, lanes = form_of(geometry, (h, w)), SIMD.lanes(dtype.itemsize)
    top, left = (
        (axis.kernel - 1 - axis.padding[0] if adjoint else axis.padding[0]) - form.inner
        for axis in geometry.windows
    )
    at_once = form.makes_all_points(form.tiles(n, grid), (c, k), dtype.itemsize)
    points = form.points * (-(-k // lanes) * lanes * c + lanes) if at_once else 0
    return _Call(
        adjoint, form, (prod(shape), points, n * prod(grid) * k), (h * w * c, w * c, c), (h, w),
        (c, k), (n, grid[0], grid[1]), (top, left), np.zeros(k, dtype), threads,
    )  # fmt: skip
