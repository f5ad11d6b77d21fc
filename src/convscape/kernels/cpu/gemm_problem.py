"""What the implicit matrix product knows of a convolution before it sees an array.

Addresses and steps follow from shapes alone, so they are found once for each of them.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.phases import Phase, phase_of, reach
from convscape.kernels.cpu.simd import ROWS

Pair = tuple[int, int]
Axis = tuple[int, int, int, int]
Padding = tuple[Pair, Pair]

(
    START, STEP_N, STEP_H, STEP_W, FIRST_CELL, CELLS_R, CELLS_S, _, TAPS_R, TAPS_S, STEP_R, STEP_S,
    DOWN, _, _, _, ACROSS, _, _, _, BATCH_LAST, Y_START, Y_N, Y_K, Y_H, Y_W, SIZE_N, _, SIZE_H,
    SIZE_W,
) = range(30)  # fmt: skip
"""Columns of `Products.table`, as `Product` names them."""

_SMALL = 256  # pixels of a map whose border is worth a look


@dataclass(frozen=True)
class Product:
    """One implicit matrix product over padded channels-last memory.

    Args:
        start: Address of what the first kernel cell reads at output (0, 0, 0).
        steps: Elements between outputs along n, h and w.
        cells_at: Which of the packed kernel cells are taken: the first one's number, the steps to
            the next along r and along s, and how many there are in all.
        shape: Of the weights that are taken: (groups, k, c, r, s).
        tap_steps: Elements between kernel cells along r and s.
        down: (a, b, d, n) of h: tap t of output o reads cell o a + b + t d of n.
        across: The same of w.
        y_start: Where the outputs begin in the result's memory.
        y_strides: Of n, k, h and w there, in elements.
        y_shape: (N, K, H', W') of these outputs.
    """

    start: int
    steps: tuple[int, int, int]
    cells_at: tuple[int, int, int, int]
    shape: tuple[int, int, int, int, int]
    tap_steps: Pair
    down: Axis
    across: Axis
    y_start: int
    y_strides: tuple[int, int, int, int]
    y_shape: tuple[int, int, int, int]

    @cached_property
    def multiplications(self) -> int:
        """Products in all."""
        return prod(self.y_shape) * prod(self.shape[2:])

    @property
    def numbers(self) -> tuple[int, ...]:
        """A line of `Products.table`: all but the weights' shape."""
        return (
            self.start, *self.steps, *self.cells_at, *self.shape[3:], *self.tap_steps, *self.down,
            *self.across, self.batch_last, self.y_start, *self.y_strides, *self.y_shape,
        )  # fmt: skip

    @property
    def batch_last(self) -> bool:
        """Whether so much that is read is padding that the order (h, w, n) pays."""
        n, _, h, w = self.y_shape
        if n < ROWS or h * w > _SMALL:
            return False
        taps = self.shape[3:]
        real = [
            sum(0 <= o * a + b + tap * d < size for o in range(outputs) for tap in range(kernel))
            for (a, b, d, size), kernel, outputs in zip(
                (self.down, self.across), taps, (h, w), strict=True
            )
        ]
        return 10 * prod(real) < 9 * prod(taps) * h * w


@dataclass(frozen=True, eq=False)
class Products:
    """Products of one input with parts of one set of weights, into one result.

    Args:
        each: One, or a phase of a stride each. They have groups and channels in common.
        shape: Of all weights: (groups, k, c, r, s).
    """

    each: tuple[Product, ...]
    shape: tuple[int, int, int, int, int]

    @cached_property
    def table(self) -> Array:
        """What the kernel is given: a line each, see `Product.numbers`, in the columns above."""
        return np.array([product.numbers for product in self.each], np.int64)

    @cached_property
    def multiplications(self) -> int:
        """Products in all."""
        return sum(product.multiplications for product in self.each)


@lru_cache(maxsize=1024)
def forward_product(
    geometry: Geometry, n: int, h: int, w: int, last: bool
) -> tuple[tuple[int, int, int, int], Padding, Products]:
    """The result's shape, x's padding, and the product, in channels-last memory or plain."""
    height, width = geometry.windows
    k, c, r, s = geometry.weight_shape
    shape = (n, *_three(geometry.output_shape((h, w))))
    padding = height.padding, width.padding
    sn, sh, sw = _pixel_steps(geometry.in_channels, (h, w), padding)
    down, across = (
        (axis.stride, -axis.padding[0], axis.dilation, m)
        for axis, m in ((height, h), (width, w))
    )  # fmt: skip
    product = Product(
        0, (sn, sh * height.stride, sw * width.stride), (0, s, 1, r * s),
        (geometry.groups, k // geometry.groups, c, r, s),
        (sh * height.dilation, sw * width.dilation), down, across, 0, _strides(shape, last), shape,
    )  # fmt: skip
    return shape, padding, Products((product,), product.shape)


@lru_cache(maxsize=1024)
def input_products(
    geometry: Geometry, n: int, h: int, w: int, last: bool
) -> tuple[Padding, Products, tuple[Pair, ...]]:
    """For the input gradient: dy's padding, a product a phase, and phases that no cell reaches.

    A stride s splits the pixels of dx into s phases along its axis; a phase's pixels (i, j), i + s,
    ... meet the kernel cells of one residue.
    """
    rows, columns = (
        [phase_of(axis, phase, size) for phase in range(min(axis.stride, size))]
        for axis, size in zip(geometry.windows, (h, w), strict=True)
    )
    outputs = geometry.outputs((h, w))
    padding = reach(rows, outputs[0]), reach(columns, outputs[1])
    steps = _pixel_steps(geometry.out_channels, outputs, padding)
    groups, (k, c, r, s) = geometry.groups, geometry.weight_shape
    k //= groups
    strides = _strides((n, groups * c, h, w), last)
    height, width = geometry.windows

    def phase(i: int, j: int, down: Phase, across: Phase) -> Product:
        taps = down.taps, across.taps
        axes = [(1, p.start, -p.back, m) for p, m in zip((down, across), outputs, strict=True)]
        return Product(
            (padding[0][0] + down.start) * steps[1] + (padding[1][0] + across.start) * steps[2],
            steps,
            (down.first * s + across.first, down.every * s, across.every, r * s),
            # Of the adjoint problem the forward's input channels are the outputs.
            (groups, c, k, *taps),
            (-down.back * steps[1], -across.back * steps[2]),
            axes[0], axes[1],
            i * strides[2] + j * strides[3],
            (*strides[:2], strides[2] * height.stride, strides[3] * width.stride),
            (n, groups * c, down.count, across.count),
        )  # fmt: skip

    pairs = [(i, j, d, a) for i, d in enumerate(rows) for j, a in enumerate(columns)]
    met = tuple(phase(*pair) for pair in pairs if pair[2].taps and pair[3].taps)
    empty = tuple((i, j) for i, j, d, a in pairs if not (d.taps and a.taps))
    return padding, Products(met, (groups, c, k, r, s)), empty


def _pixel_steps(channels: int, cells: tuple[int, ...], padding: Padding) -> tuple[int, int, int]:
    """Elements between images, lines and pixels of padded channels-last memory."""
    rows, columns = (m + low + high for m, (low, high) in zip(cells, padding, strict=True))
    return rows * columns * channels, columns * channels, channels


def _strides(shape: tuple[int, int, int, int], last: bool) -> tuple[int, int, int, int]:
    """Of an (N, C, H, W) array without gaps, in elements."""
    _, c, h, w = shape
    return (h * w * c, 1, w * c, c) if last else (c * h * w, h * w, w, 1)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    k, h, w = shape
    return k, h, w
