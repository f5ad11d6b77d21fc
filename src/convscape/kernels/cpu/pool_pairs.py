"""Pooling at stride 2 in plain memory, windows 2 or 3 cells wide: rows first, then neighbours.

    t[c] = combine over rows of x[row, c],  y[l] = combine of t[2 l], t[2 l + 1] (and t[2 l + 2])

The rows are combined as they lie, so each cell is loaded once, and only their results are taken
apart into even and odd ones. Vectors of the same line of several planes are computed together.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from convscape.kernels.cpu.pool_lanes import (
    INTEGER,
    TAPS,
    TARGET,
    VECTORS,
    Flags,
    Memory,
    Shape,
    Taps,
    all_set,
    constant,
    inside,
    write,
)
from convscape.kernels.cpu.simd import SIMD


def pairs_lanes(columns: int, largest: bool) -> Callable[..., bool]:
    """An intrinsic for the totals or the maxima of windows at stride 2, a vector a plane.

    The intrinsic is `f(x, taps, share, share_at, y, target)`, as `total_lanes` and `maximum_lanes`
    take them; of the taps, the column walk is known. Totals are multiplied by share[share_at + l];
    a maximum starts as -Inf, and the share is not read. It returns whether what was written is
    right: maxima are not where NaN was met, which is noticed, but not placed, in half the time.

    Args:
        columns: 2 or 3, of a window.
        largest: Whether maxima are taken.
    """

    @intrinsic
    def apply(
        _context: Any, x: Any, taps: Any, share: Any, share_at: Any, y: Any, target: Any
    ) -> Any:
        signature = types.boolean(x, TAPS, share, INTEGER, y, TARGET)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = SIMD.lanes(x.dtype.bitwidth // 8)
            source, factor, out = (
                Memory(context, builder, sig.args[n], args[n], lanes) for n in (0, 2, 4)
            )
            fill = constant(source, float("-inf") if largest else 0.0)
            walks = Taps(builder, args[1])
            (at, row_step, _), (lane, _, _) = walks.walks
            # Two vectors hold the cells of both halves, a third the one behind them.
            firsts = [builder.add(lane, lane.type(i * lanes)) for i in range(columns)]
            masks = [inside(builder, first, walks.limit, lanes) for first in firsts]
            found = [
                [cgutils.alloca_once_value(builder, fill) for _ in firsts] for _ in range(VECTORS)
            ]

            flags = Flags(source)
            numbers = [cgutils.alloca_once_value(builder, flags.on) for _ in range(VECTORS)]

            def combined(value: Any, before: Any) -> Any:
                if not largest:
                    return builder.fadd(before, value)
                return builder.select(builder.fcmp_ordered(">", value, before), value, before)

            with cgutils.for_range(builder, walks.rows) as loop:
                row = builder.add(at, builder.mul(loop.index, row_step))
                for v, streams in enumerate(found):
                    start = builder.add(row, builder.mul(walks.jump, row.type(v)))
                    for first, mask, stream in zip(firsts, masks, streams, strict=True):
                        value = source.load(builder.add(start, first), mask, fill)
                        builder.store(combined(value, builder.load(stream)), stream)
                        if largest:
                            number = builder.fcmp_ordered("ord", value, value)
                            builder.store(flags.both(builder.load(numbers[v]), number), numbers[v])

            def taken(a: Any, b: Any, order: list[int]) -> Any:
                kind = ir.VectorType(ir.IntType(32), lanes)
                return builder.shuffle_vector(a, b, ir.Constant(kind, order))

            results = []
            for streams in found:
                low, high, *more = map(builder.load, streams)
                even = taken(low, high, list(range(0, 2 * lanes, 2)))
                total = combined(taken(low, high, list(range(1, 2 * lanes, 2))), even)
                for behind in more:
                    total = combined(taken(even, behind, list(range(1, lanes + 1))), total)
                results.append(total if largest else builder.fmul(total, factor.load(args[3])))
            write(out, results, args[5], Shape(VECTORS, 1, whole=False))
            return all_set(builder, [flags.mask(builder.load(n)) for n in numbers])

        return signature, generate

    return cast(Callable[..., bool], apply)
