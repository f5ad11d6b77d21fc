"""Runs of memory, copied as such."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import SIMD


@intrinsic
def copy_run(_context: Any, source: Any, at: Any, target: Any, to: Any, count: Any) -> Any:
    """Set target[to : to + count] = source[at : at + count], without views or checks.

    A loop over an index that is not known to be positive is not vectorized, and a view of an array
    is counted.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        given, taken = _places(context, builder, sig, args)
        cgutils.raw_memcpy(builder, taken, given, args[4], source.dtype.bitwidth // 8)
        return context.get_dummy_value()

    integer = types.intp
    return types.void(source, integer, target, integer, integer), generate


@intrinsic
def copy_runs(
    _context: Any, source: Any, at: Any, step: Any, target: Any, to: Any, run: Any, count: Any
) -> Any:
    """Set target[to + i run + j] = source[at + i step + j] for j < run and i < count.

    With 1 <= run <= step; source and target do not overlap. Short runs are copied as whole
    vectors, of which the next run overwrites what is too much; only the last ones number by number.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (given, taken), size = _places(context, builder, sig, args, 3), source.dtype.bitwidth // 8
        _, _, step, _, _, run, count = args
        lanes = run.type(SIMD.lanes(size))
        kind = ir.VectorType(given.type.pointee, SIMD.lanes(size)).as_pointer()
        one = run.type(1)
        vectors = builder.sdiv(builder.sub(builder.add(run, lanes), one), lanes)
        beyond = builder.sub(builder.mul(vectors, lanes), run)
        exact = builder.sdiv(builder.sub(builder.add(beyond, run), one), run)
        whole = builder.sub(count, exact)
        with cgutils.for_range(builder, whole) as loop:
            here = builder.gep(given, [builder.mul(loop.index, step)])
            there = builder.gep(taken, [builder.mul(loop.index, run)])
            with cgutils.for_range(builder, vectors) as inner:
                j = builder.mul(inner.index, lanes)
                value = builder.load(builder.bitcast(builder.gep(here, [j]), kind), align=size)
                builder.store(value, builder.bitcast(builder.gep(there, [j]), kind), align=size)
        first = builder.select(builder.icmp_signed(">", whole, run.type(0)), whole, run.type(0))
        with cgutils.for_range_slice(builder, first, count, one) as (i, _):
            here = builder.gep(given, [builder.mul(i, step)])
            there = builder.gep(taken, [builder.mul(i, run)])
            with cgutils.for_range(builder, run) as inner:
                number = builder.load(builder.gep(here, [inner.index]))
                builder.store(number, builder.gep(there, [inner.index]))
        return context.get_dummy_value()

    integer = types.intp
    return types.void(source, integer, integer, target, integer, integer, integer), generate


@intrinsic
def copy_every_other(_context: Any, source: Any, at: Any, target: Any, to: Any, count: Any) -> Any:
    """Set target[to + i] = source[at + 2 i] for i < count; they do not overlap."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        given, taken = _places(context, builder, sig, args)
        size = source.dtype.bitwidth // 8
        lanes = SIMD.lanes(size)

        def place(pointer: Any, i: Any, many: int) -> Any:
            kind = ir.VectorType(pointer.type.pointee, many).as_pointer()
            return builder.bitcast(builder.gep(pointer, [i]), kind)

        # A pair of vectors ends one element behind its last even one; the last may not be there.
        whole = builder.sdiv(builder.sub(args[4], args[4].type(1)), args[4].type(lanes))
        with cgutils.for_range(builder, whole) as loop:
            i = builder.mul(loop.index, loop.index.type(lanes))
            at_source = place(given, builder.add(i, i), 2 * lanes)
            both = builder.load(at_source, align=size)
            even = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(0, 2 * lanes, 2)))
            half = builder.shuffle_vector(both, ir.Constant(both.type, ir.Undefined), even)
            builder.store(half, place(taken, i, lanes), align=size)
        rest = builder.mul(whole, whole.type(lanes))
        with cgutils.for_range_slice(builder, rest, args[4], rest.type(1)) as (i, _):
            number = builder.load(builder.gep(given, [builder.add(i, i)]))
            builder.store(number, builder.gep(taken, [i]))
        return context.get_dummy_value()

    integer = types.intp
    return types.void(source, integer, target, integer, integer), generate


@intrinsic
def copy_thirds(_context: Any, source: Any, at: Any, target: Any, to: Any, step: Any) -> Any:
    """Set target[to + t step + i] = source[at + 3 i + t] for t < 3 and each lane i of a vector."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        given, taken = _places(context, builder, sig, args)
        size = source.dtype.bitwidth // 8
        lanes = SIMD.lanes(size)
        every = ir.VectorType(given.type.pointee, 3 * lanes)
        values = builder.load(builder.bitcast(given, every.as_pointer()), align=size)
        for t in range(3):
            order = ir.VectorType(ir.IntType(32), lanes)
            third = builder.shuffle_vector(
                values, ir.Constant(every, ir.Undefined),
                ir.Constant(order, list(range(t, 3 * lanes, 3))),
            )  # fmt: skip
            place = builder.gep(taken, [builder.mul(args[4], args[4].type(t))])
            builder.store(third, builder.bitcast(place, third.type.as_pointer()), align=size)
        return context.get_dummy_value()

    integer = types.intp
    return types.void(source, integer, target, integer, integer), generate


def _places(context: Any, builder: Any, sig: Any, args: Any, second: int = 2) -> tuple[Any, Any]:
    """Where source[at] and target[to] are; the target is the argument with the number `second`."""
    given, taken = (
        builder.gep(context.make_array(sig.args[n])(context, builder, args[n]).data, [args[n + 1]])
        for n in (0, second)
    )
    return given, taken
