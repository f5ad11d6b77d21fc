"""Pooling at stride 1 that leaves a plane's size: in plain memory the whole plane is one line.

    y[p] = combine over taps t of x[p + offsets[t]],  where tap t meets a real cell

A vector takes neighbouring cells p whatever lines they are of, so short lines fill vectors too.
Which taps are real depends on p alone: one table of bit masks, a word a vector and tap, serves all
planes.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.pool_axes import settled
from convscape.kernels.cpu.pool_lanes import INTEGER, VECTORS, Flags, Memory, constant, from_bits
from convscape.kernels.cpu.simd import SIMD

_LANE_BYTES = SIMD.bits // 8
_CELLS = 2048
"""Cells of a plane up to which the tables stay in the nearest cache; longer lines fill vectors."""


def flat_lanes(vectors: int, largest: bool) -> Callable[..., None]:
    """An intrinsic for one vector of cells of some planes: their totals or their maxima.

    The intrinsic is `f(x, at, size, offsets, masks, masks_at, cell, shares, y)`: the planes of
    `size` cells follow each other from x[at] on, and `cell` is the vector's first. Totals are
    multiplied by shares[cell + l]. A maximum starts as -Inf, and NaN wins: whether one was met is
    kept beside it, which is cheaper than asking at every comparison.
    """

    @intrinsic
    def apply(
        _context: Any, x: Any, at: Any, size: Any, offsets: Any, masks: Any, masks_at: Any,
        cell: Any, shares: Any, y: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(x, INTEGER, INTEGER, offsets, masks, INTEGER, INTEGER, shares, y)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = SIMD.lanes(x.dtype.bitwidth // 8)
            source, share, out = (
                Memory(context, builder, sig.args[n], args[n], lanes) for n in (0, 7, 8)
            )
            moves, words = (
                context.make_array(sig.args[n])(context, builder, args[n]) for n in (3, 4)
            )
            _, start, size, _, _, first_word, cell, _, _ = args
            flags = Flags(source)
            fill = constant(source, float("-inf") if largest else 0.0)
            places, results, ordered = [], [], []
            for v in range(vectors):
                skip = builder.mul(size, ir.Constant(size.type, v))
                places.append(builder.add(builder.add(start, cell), skip))
                results.append(cgutils.alloca_once_value(builder, fill))
                ordered.append(cgutils.alloca_once_value(builder, flags.on))
            count = builder.extract_value(moves.shape, 0)
            with cgutils.for_range(builder, count) as loop:
                move = builder.load(builder.gep(moves.data, [loop.index]))
                place = builder.add(first_word, loop.index)
                word = builder.load(builder.gep(words.data, [place]))
                mask = from_bits(builder, word, lanes)
                for place, result, known in zip(places, results, ordered, strict=True):
                    value = source.load(builder.add(place, move), mask, fill)
                    before = builder.load(result)
                    if largest:
                        more = builder.fcmp_ordered(">", value, before)
                        builder.store(builder.select(more, value, before), result)
                        number = builder.fcmp_ordered("ord", value, value)
                        builder.store(flags.both(builder.load(known), number), known)
                    else:
                        builder.store(builder.fadd(before, value), result)
            left = builder.sub(size, cell)
            for place, result, known in zip(places, results, ordered, strict=True):
                value = builder.load(result)
                if largest:
                    nan = constant(source, float("nan"))
                    value = builder.select(flags.mask(builder.load(known)), value, nan)
                else:
                    value = builder.fmul(value, share.load(cell))
                out.store_first(value, place, left)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


_totals, _total = flat_lanes(VECTORS, largest=False), flat_lanes(1, largest=False)
_maxima, _maximum = flat_lanes(VECTORS, largest=True), flat_lanes(1, largest=True)


@team
def flat_part(part, parts, x, y, shares, offsets, masks, count, size):
    """The planes' totals times the cells' shares, or without shares (None) their maxima."""
    if divide(part, parts):
        return
    lanes = _LANE_BYTES // x.itemsize
    plane, end = count * part // parts, count * (part + 1) // parts
    while plane < end:
        many = VECTORS if plane + VECTORS <= end else 1
        for v in range((size + lanes - 1) // lanes):
            at, word, cell = plane * size, v * len(offsets), v * lanes
            if shares is None:
                if many == VECTORS:
                    _maxima(x, at, size, offsets, masks, word, cell, x, y)
                else:
                    _maximum(x, at, size, offsets, masks, word, cell, x, y)
            elif many == VECTORS:
                _totals(x, at, size, offsets, masks, word, cell, shares, y)
            else:
                _total(x, at, size, offsets, masks, word, cell, shares, y)
        plane += many


@lru_cache(maxsize=1024)
def flat(
    geometry: Geometry, spatial: tuple[int, int], itemsize: int, back: bool = False
) -> tuple[Array, Array] | None:
    """The taps' offsets in a plane, and the words of `masks`; None where it is not for this file.

    Args:
        geometry: Two windows.
        spatial: (H, W), of the input and the output.
        itemsize: Bytes of an element.
        back: Whether results gather from the windows that read them, for the gradient.
    """
    windows = settled(geometry, spatial)
    h, w = spatial
    if h * w > _CELLS or geometry.outputs(spatial) != spatial or any(v.stride > 1 for v in windows):
        return None
    lanes = SIMD.lanes(itemsize)
    sign = -1 if back else 1
    rows, columns = (
        sign * (np.arange(v.kernel) * v.dilation - v.padding[0])[:, None] + np.arange(n)
        for v, n in zip(windows, spatial, strict=True)
    )
    met = ((rows >= 0) & (rows < h))[:, None, :, None] & ((columns >= 0) & (columns < w))[:, None]
    bits = np.zeros((rows.shape[0] * columns.shape[0], -(-h * w // lanes) * lanes), bool)
    bits[:, : h * w] = met.reshape(len(bits), -1)
    powers = np.int64(1) << np.arange(lanes)
    words = (bits.reshape(len(bits), -1, lanes) * powers).sum(2).T
    offsets = (rows[:, :1] * w + columns[:, 0]).reshape(-1)
    return offsets.astype(np.int64), np.ascontiguousarray(words, np.int32).reshape(-1)


@lru_cache(maxsize=256)
def spread(rows: bytes, columns: bytes, dtype: Any) -> Array:
    """What each cell of a plane counts, from the bytes of what its row and its column count.

    Whole vectors of it, as the kernels read them.
    """
    line = np.outer(np.frombuffer(rows, dtype), np.frombuffer(columns, dtype)).reshape(-1)
    lanes = SIMD.lanes(np.dtype(dtype).itemsize)
    return np.pad(line, (0, -len(line) % lanes))
