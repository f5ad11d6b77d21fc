"""Calls of the implicit matrix product: what follows from shapes alone is found once for each.

A small convolution takes as long as the Python around it. So a call is divided: `call_of` finds
the way, the sizes and the strides, and what is left to do wants to know where the memory lies.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import gemm_pack
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at, place
from convscape.kernels.cpu.clear import clearing
from convscape.kernels.cpu.clip import Clipped
from convscape.kernels.cpu.gemm_pixels import correlate_part
from convscape.kernels.cpu.gemm_problem import Products
from convscape.kernels.cpu.gemm_way import way_of
from convscape.kernels.cpu.layout import Array, Pads, flat
from convscape.kernels.cpu.simd import SIMD

_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread
_NO_STRIDES = (0, 0, 0, 0, 0)


def correlate(
    memory: Array,
    weight: Array,
    packed: Array | None,
    products: Products,
    bias: Array | None,
    relu: bool | float,
    y: Array,
    threads: int,
) -> None:
    """Fill outputs from channels-last memory.

    Args:
        memory: The padded input.
        weight: (groups, k, c, r, s), any strides.
        packed: What `convscape.kernels.cpu.gemm_pack.packed` makes of it, if that is known.
        products: Where everything lies.
        bias: (K,), or None.
        relu: Whether negative results become 0; a number is an upper bound beside.
        y: The result's memory, one-dimensional.
        threads: Threads to use.
    """
    if not products.each:  # no kernel cell reaches any pixel
        return
    given, strides = (weight, None) if packed is not None else flat(weight)
    call = call_of(products, len(memory), given.size, strides, len(y), y.dtype, threads)
    if packed is None and not call.packs:
        packed = gemm_pack.packed(weight, call.threads)
    address = workspace.address
    at = 0 if packed is None else address(packed)
    call(address(memory), address(given), at, address(y), bias, relu)


class Call:
    """A call of which all is known but where things lie.

    Args:
        threads: Threads to use.
        packs: Whether threads pack the weights; else they are given packed.
        no_bias: Zeros, a bias in whole vectors a group.
        numbers: Arguments of the kernel: sizes to way.
        rest: Those behind the bounds.
    """

    def __init__(
        self, threads: int, packs: bool, no_bias: Array, numbers: tuple[Any, ...],
        rest: tuple[Any, ...],
    ) -> None:  # fmt: skip
        self.threads, self.packs = threads, packs
        self._no_bias, self._numbers, self._rest = no_bias, numbers, rest
        self._launches = Clipped(self._launch)

    def __call__(
        self, x: int, weight: int, packed: int, y: int, bias: Array | None, relu: bool | float
    ) -> None:
        """Compute, given the addresses of the input, of weights or packed ones, and of y."""
        none = self._no_bias
        blocks = none if bias is None else _in_blocks(bias, none, self._numbers[2])
        self._launches(relu)(x, weight, packed, y, workspace.address(blocks))

    def _launch(self, limits: tuple[float, float]) -> Launch:
        none, places = self._no_bias, tuple(map(place, range(4)))
        bias = lies_at(4, len(none), none.dtype)
        return Launch(
            correlate_part, self.threads, places, *self._numbers, bias, limits, *self._rest
        )


Phases = Sequence[tuple[int, int]]
"""Those of a strided input gradient, by their first pixels."""


def bound_of(
    result: Result, call: Callable[..., None], pads: Pads | None, geometry: Geometry,
    unmet: Phases, threads: int,
) -> Bound:  # fmt: skip
    """A call with what is to be done before it.

    Args:
        result: What it fills.
        call: A `Call`, or what is told the same.
        pads: What pads its input, if anything does.
        geometry: The convolution.
        unmet: Phases of the result that it does not write.
        threads: Threads to use.
    """
    height, width = geometry.windows
    clears = clearing(result, (height.stride, width.stride), unmet, threads)
    if pads is None and clears is None:
        return Bound((result,), call)

    def fill(
        x: int, weight: int, packed: int, y: int, bias: Array | None, relu: bool | float
    ) -> None:
        if clears is not None:
            clears(y)
        room = None if pads is None else pads(x)  # lives as long as this call
        given = x if room is None else workspace.address(room)
        call(given, weight, packed, y, bias, relu)

    return Bound((result,), fill)


@lru_cache(maxsize=1024)
def call_of(
    products: Products, elements: int, weights: int, strides: Any, outputs: int, dtype: Any,
    threads: int,
) -> Call:  # fmt: skip
    """How an input of so many elements is multiplied, with weights that have strides, or packed.

    Args:
        products: Where everything lies.
        elements: Of the input.
        weights: Elements of the weights' memory.
        strides: Of (groups, k, c, r, s) in it; None where the weights are given packed.
        outputs: Elements of y.
        dtype: Of all of them.
        threads: Threads to use.
    """
    threads = threads if products.multiplications >= _SPLIT_FROM else 1
    lanes = SIMD.lanes(dtype.itemsize)
    way = way_of(products, strides is not None, elements, threads, lanes)
    groups, k, c, r, s = products.shape
    wide = groups * -(-k // lanes) * lanes
    sizes = elements, weights, way.room or wide * c * r * s, outputs
    numbers = sizes, strides or _NO_STRIDES, products.shape, tuple(way)
    return Call(threads, way.room > 0, np.zeros(wide, dtype), numbers, (lanes, products.table))


def _in_blocks(bias: Array, none: Array, shape: tuple[int, ...]) -> Array:
    """The bias in whole vectors a group, as the weights are packed and as `none` is."""
    groups, k = shape[:2]
    if len(none) == groups * k:
        return np.ascontiguousarray(bias, none.dtype)  # of which the kernel takes all to be
    blocks = np.zeros_like(none)
    blocks.reshape(groups, -1)[:, :k] = bias.reshape(groups, k)
    return blocks
