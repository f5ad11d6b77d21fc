"""Pooling's three inner loops: the maxima, the cells that were chosen, and the totals of windows.

Each works on some vectors at once, as `pool_lanes` describes.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.pool_lanes import (
    INTEGER,
    NUMBERS,
    TAPS,
    TARGET,
    Flags,
    Memory,
    Reader,
    Shape,
    Taps,
    all_set,
    in_lanes,
    nest,
    parts,
    splat,
    write,
    write_pairs,
)
from convscape.kernels.cpu.simd import SIMD


def maximum_lanes(shape: Shape, exact: bool = True) -> Callable[..., bool]:
    """An intrinsic for the maxima of some vectors of windows, and the numbers of their cells.

    The intrinsic is `f(x, taps, far, numbers, firsts, firsts_at, y, where, target)`. The maximum
    starts as -Inf. Its cell's number starts as numbers[0], plus firsts[firsts_at + l] if the
    vectors are not `whole`. `where` may be None: then no numbers are kept. `far` is the step if the
    shape leaves it open. It returns whether what was written is right, which an `exact` one always
    is; another only notices NaN, which costs half a comparison a value, and does not place it.
    """

    @intrinsic
    def apply(
        _context: Any, x: Any, taps: Any, far: Any, numbers: Any, firsts: Any, firsts_at: Any,
        y: Any, where: Any, target: Any,
    ) -> Any:  # fmt: skip
        signature = types.boolean(x, TAPS, INTEGER, NUMBERS, firsts, INTEGER, y, where, TARGET)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kept, many = not isinstance(where, types.NoneType), shape.vectors

            def memory(position: int) -> Memory:
                lanes = SIMD.lanes(x.dtype.bitwidth // 8)
                return Memory(context, builder, sig.args[position], args[position], lanes)

            source, cells, walks = memory(0), None, Taps(builder, args[1])
            read = Reader(source, shape, walks, args[2], float("-inf"))
            results = [read.fill] * many
            if kept:
                cells = memory(7)
                numbered = parts(builder, args[3])
                walks.walks.append(tuple(numbered))
                start = in_lanes(builder, numbered[0], cells)
                if not shape.whole:
                    start = builder.add(start, memory(4).load(args[5]))
                results += [start] * many
            # One comparison asks two vectors whether either has NaN.
            flags = Flags(source)
            pairs = 0 if exact else (many + 1) // 2
            results += [flags.on] * pairs

            def body(at: Any, lane: Any, *values: Any) -> Sequence[Any]:
                number, values = values[: -len(results)], values[-len(results) :]
                best, wins = values[:many], []
                found = read(at, lane)
                for value, before in zip(found, best, strict=True):
                    more = builder.fcmp_ordered(">", value, before)
                    if exact:
                        more = builder.or_(more, builder.fcmp_unordered("uno", value, value))
                    wins.append(more)
                following = list(map(builder.select, wins, found, best))
                if cells is not None:
                    here = in_lanes(builder, number[0], cells)
                    following += [
                        builder.select(w, here, b)
                        for w, b in zip(wins, values[many : 2 * many], strict=True)
                    ]
                for n, known in enumerate(values[len(values) - pairs :]):
                    two = found[2 * n], found[min(2 * n + 1, many - 1)]
                    ordered = builder.fcmp_ordered("ord", *two)
                    following.append(flags.both(known, ordered))
                return following

            found = nest(builder, walks, results, body)
            write(memory(6), found[:many], args[8], shape)
            if cells is not None:
                write(cells, found[many : 2 * many], args[8], shape)
            return all_set(builder, [flags.mask(f) for f in found[len(found) - pairs :]])

        return signature, generate

    return cast(Callable[..., bool], apply)


def chosen_lanes(shape: Shape) -> Callable[..., None]:
    """An intrinsic for the sum of dy over the cells whose number is the kernel cell's own.

    The intrinsic is `f(dy, where, taps, numbers, dx, target)`.
    """

    @intrinsic
    def apply(
        _context: Any, dy: Any, where: Any, taps: Any, numbers: Any, dx: Any, target: Any
    ) -> Any:
        signature = types.void(dy, where, TAPS, NUMBERS, dx, TARGET)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = SIMD.lanes(dy.dtype.bitwidth // 8)
            given, cells, out = (
                Memory(context, builder, sig.args[i], args[i], lanes) for i in (0, 1, 4)
            )
            walks = Taps(builder, args[2])
            walks.walks.append(tuple(parts(builder, args[3])))
            read, read_cells = (Reader(m, shape, walks, None, 0) for m in (given, cells))

            def body(at: Any, lane: Any, number: Any, *totals: Any) -> Sequence[Any]:
                here = in_lanes(builder, number, cells)
                results = []
                for value, cell, total in zip(
                    read(at, lane), read_cells(at, lane), totals, strict=True
                ):
                    mine = builder.icmp_unsigned("==", cell, here)
                    results.append(builder.fadd(total, builder.select(mine, value, read.fill)))
                return results

            found = nest(builder, walks, [read.fill] * shape.vectors, body)
            write(out, found, args[5], shape)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


def total_lanes(shape: Shape) -> Callable[..., None]:
    """An intrinsic for the sums of some vectors of windows.

    The intrinsic is `f(x, taps, far, share, share_at, y, target)`: the sums are multiplied by
    share[share_at + l], or by the number `share`. `far` is the step if the shape leaves it open.
    """

    @intrinsic
    def apply(
        _context: Any, x: Any, taps: Any, far: Any, share: Any, share_at: Any, y: Any, target: Any
    ) -> Any:
        signature = types.void(x, TAPS, INTEGER, share, INTEGER, y, TARGET)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def memory(position: int) -> Memory:
                lanes = SIMD.lanes(x.dtype.bitwidth // 8)
                return Memory(context, builder, sig.args[position], args[position], lanes)

            walks = Taps(builder, args[1])
            read = Reader(memory(0), shape, walks, args[2], 0.0)

            def body(at: Any, lane: Any, *totals: Any) -> Sequence[Any]:
                return list(map(builder.fadd, totals, read(at, lane)))

            found = nest(builder, walks, [read.fill] * shape.vectors, body)
            one = isinstance(share, types.Float)
            lanes = read.memory.lanes
            factor = splat(builder, args[3], lanes) if one else memory(3).load(args[4])
            found = [builder.fmul(total, factor) for total in found]
            write(memory(5), found, args[6], shape)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


def plane_totals(shape: Shape) -> Callable[..., None]:
    """An intrinsic for one sum over all lanes and kernel cells of each vector.

    The intrinsic is `f(x, taps, share, y, at)`: y[at + v] = share * (the sum of vector v).
    """

    @intrinsic
    def apply(_context: Any, x: Any, taps: Any, share: Any, y: Any, at: Any) -> Any:
        signature = types.void(x, TAPS, share, y, INTEGER)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = SIMD.lanes(x.dtype.bitwidth // 8)
            memory, out = (Memory(context, builder, sig.args[i], args[i], lanes) for i in (0, 3))
            walks = Taps(builder, args[1])
            read = Reader(memory, shape, walks, None, 0.0)

            def body(place: Any, lane: Any, *totals: Any) -> Sequence[Any]:
                return list(map(builder.fadd, totals, read(place, lane)))

            for v, total in enumerate(nest(builder, walks, [read.fill] * shape.vectors, body)):
                value = builder.fmul(memory.sum_lanes(total), args[2])
                place = builder.add(args[4], args[4].type(v))
                builder.store(value, builder.gep(out.data, [place]))
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


def total_pairs(shape: Shape) -> Callable[..., None]:
    """As `total_lanes` twice, for even and for odd results, which are stored in turns.

    The intrinsic is `f(x, even, odd, share, y, target)`, where even and odd are taps and the share
    is a number.
    """

    @intrinsic
    def apply(_context: Any, x: Any, even: Any, odd: Any, share: Any, y: Any, target: Any) -> Any:
        signature = types.void(x, TAPS, TAPS, share, y, TARGET)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = SIMD.lanes(x.dtype.bitwidth // 8)
            memory, out = (Memory(context, builder, sig.args[i], args[i], lanes) for i in (0, 4))
            factor = splat(builder, args[3], lanes)

            def totals(pack: Any) -> Sequence[Any]:
                walks = Taps(builder, pack)
                read = Reader(memory, shape, walks, None, 0.0)

                def body(at: Any, lane: Any, *before: Any) -> Sequence[Any]:
                    return list(map(builder.fadd, before, read(at, lane)))

                found = nest(builder, walks, [read.fill] * shape.vectors, body)
                return [builder.fmul(total, factor) for total in found]

            write_pairs(out, totals(args[1]), totals(args[2]), args[5], shape)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)
