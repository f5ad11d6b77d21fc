"""Convolution as an implicit matrix product on the CPU's matrix unit, AMX, in float32.

The problems are those of `convscape.kernels.cpu.gemm`; numbers are taken in three parts of 8 bits
each, see `convscape.kernels.cpu.amx_tiles`. Errors are about those of a plain float32 sum.
An Inf becomes NaN; outputs that do not read it are not touched.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.amx_pack import packed, packing, panels_of, runs_of
from convscape.kernels.cpu.amx_pixels import correlate_part
from convscape.kernels.cpu.amx_tiles import BLOCK
from convscape.kernels.cpu.amx_way import way_of
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at, place
from convscape.kernels.cpu.clear import clear
from convscape.kernels.cpu.clip import Clipped
from convscape.kernels.cpu.gemm_call import Phases, bound_of
from convscape.kernels.cpu.gemm_problem import Products, forward_product, input_products
from convscape.kernels.cpu.gemm_weight import bind_weight, weight_grad
from convscape.kernels.cpu.layout import (
    Array,
    Pads,
    blank,
    flat,
    is_channels_last,
    lies_last,
    padded,
)

__all__ = ["bind", "bind_weight", "forward", "input_grad", "pack", "weight_grad"]

_SPLIT_FROM = 1 << 20  # products, about 8 microseconds of one thread


def pack(weight: Array, geometry: Geometry, threads: int) -> Array:
    """What `forward` makes of the weights, as `convscape.kernels.cpu.gemm.pack`.

    It has about one and a half times the weights' bytes.
    """
    cells = (
        (w.kernel - 1) * w.dilation + 1 + max(0, -sum(w.padding)) for w in geometry.windows
    )  # an input that the kernel fits
    _, _, products = forward_product(geometry, 1, *cells, True)
    return packed(weight, products, threads)


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
    last = is_channels_last(x)
    shape, padding, products = forward_product(geometry, x.shape[0], x.shape[2], x.shape[3], last)
    line, y = blank(shape, x.dtype, last)
    if y.size:
        source = padded(x, padding, threads)[0]
        _correlate(source, weight, weights, products, bias, relu, line, threads)
    return y


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input, as `convscape.kernels.cpu.gemm.input_grad`: by phases."""
    last = is_channels_last(dy)
    line, dx = blank((dy.shape[0], geometry.in_channels, *spatial), dy.dtype, last)
    if dx.size == 0:
        return dx
    padding, products, unmet = input_products(geometry, dy.shape[0], *spatial, last)
    height, width = geometry.windows
    clear(dx, (height.stride, width.stride), unmet, threads)
    source = padded(dy, padding, threads)[0]
    _correlate(source, weight.swapaxes(0, 1), None, products, None, False, line, threads)
    return dx


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    weight_strides: tuple[int, ...], dtype: str, threads: int, packs: bool = True,
    spatial: tuple[int, int] | None = None,
) -> Bound | None:  # fmt: skip
    """`forward` or `input_grad`, as `convscape.kernels.cpu.gemm.bind`."""
    if not lies_last(shape, strides):
        return None
    n, c, h, w = shape
    dense = (h * w * c, 1, w * c, c)
    sk, sc, *cells = weight_strides
    unmet: Phases = ()
    if spatial is None:
        outputs, padding, products = forward_product(geometry, n, h, w, True)
        own = sk, sc, *cells
    else:
        padding, products, unmet = input_products(geometry, n, *spatial, True)
        outputs, own = (n, geometry.in_channels, *spatial), (sc, sk, *cells)
    if 0 in outputs or 0 in shape or not products.each:
        return None
    kind = np.dtype(dtype)
    pads = Pads.of(shape, dense, padding, kind, threads)
    size = 1 + sum((m - 1) * s for m, s in zip(geometry.weight_shape, weight_strides, strict=True))
    elements = pads.elements if pads else prod(shape)
    call = _call_of(products, elements, size, own if packs else None, prod(outputs), threads)
    result = Result.of(outputs, dtype, True)
    return bound_of(result, call, pads, geometry, unmet, threads)


def _correlate(
    memory: Array, weight: Array, panels: Array | None, products: Products, bias: Array | None,
    relu: bool | float, y: Array, threads: int,
) -> None:  # fmt: skip
    """Fill outputs from channels-last memory; weights are (k, c, r, s), any strides."""
    if not products.each:  # no kernel cell reaches any pixel
        return
    given, strides = (weight, None) if panels is not None else flat(weight)
    call = _call_of(products, len(memory), given.size, strides, len(y), threads)
    address = workspace.address
    at = 0 if panels is None else address(panels)
    call(address(memory), address(given), at, address(y), bias, relu)


class Call:
    """A call of which all is known but where things lie.

    Args:
        threads: Threads to use.
        packing: What makes the weights' panels beforehand, where they are neither given nor made
            by each thread.
        panels: Bytes of the panels; 0 where they are given.
        room: Bytes that the threads work in.
        no_bias: Zeros, in whole blocks.
        numbers: Arguments of the kernel: sizes to way.
        table: Of the products.
    """

    def __init__(
        self, threads: int, packing: Launch | None, panels: int, room: int, no_bias: Array,
        numbers: tuple[Any, ...], table: Array,
    ) -> None:  # fmt: skip
        self._threads, self._packing, self._panels, self._room = threads, packing, panels, room
        self._no_bias, self._numbers, self._table = no_bias, numbers, table
        self._launches = Clipped(self._launch)

    def __call__(
        self, x: int, weight: int, panels: int, y: int, bias: Array | None, relu: bool | float
    ) -> None:
        """Compute, given the addresses of the input, of weights or their panels, and of y."""
        added = self._no_bias
        if bias is not None:
            added = np.zeros_like(added)
            added[: len(bias)] = bias
        # Both live as long as this call.
        memory = workspace.empty(self._panels + self._room, np.uint8)
        room = workspace.address(memory)
        made = room + self._room if self._panels else panels
        if self._packing is not None:
            self._packing(weight, made)
        self._launches(relu)(x, weight, made, y, room, workspace.address(added))

    def _launch(self, limits: tuple[float, float]) -> Launch:
        none, places = self._no_bias, tuple(map(place, range(5)))
        bias = lies_at(5, len(none), none.dtype)
        return Launch(
            correlate_part, self._threads, places, *self._numbers, bias, limits, self._table
        )


@lru_cache(maxsize=1024)
def _call_of(
    products: Products, elements: int, weights: int, strides: Any, outputs: int, threads: int
) -> Call:
    """How an input of so many elements is multiplied; strides are None for given panels."""
    threads = threads if products.multiplications >= _SPLIT_FROM else 1
    _, k, c, r, s = products.shape
    given = strides is None
    deep = max(int(prod(runs_of(line, c)[1:])) for line in products.table)
    way = way_of(products, deep, given, elements, threads)
    panels = way.panels(panels_of(products), threads)
    first = None
    if not given and not way.fresh:
        first = packing(weights, strides, products, panels, threads)
    sizes = elements, weights, panels, outputs, way.room
    numbers = sizes, strides or (0, 0, 0, 0), (k, c, r, s), tuple(way)
    none = np.zeros(-(-k // BLOCK) * BLOCK, np.float32)
    made = 0 if given else 2 * panels
    return Call(threads, first, made, threads * way.room, none, numbers, products.table)
