"""The ends of lines: so many lanes of a vector as there are elements left.

Where a store under a mask is slow (on AVX2 it takes up to 40 steps, with AVX-512 one), halves of
the vector are stored, by the bits of the count.

Source: A. Fog, "Instruction tables" (VMASKMOVPS to memory: 18 steps for 128 bits and 42 for 256 on
the first Zen).
"""

from typing import Any

from llvmlite import ir

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def merged(builder: Any, *found: tuple[Any, Any]) -> Any:
    """One of some values, by the block that was left."""
    phi = builder.phi(found[0][0].type)
    for value, block in found:
        phi.add_incoming(value, block)
    return phi


def store_first(builder: Any, value: Any, pointer: Any, count: Any, itemsize: int) -> None:
    """Write a vector's first lanes, as many as an integer says: all of them, fewer or none."""
    lanes = value.type.count
    every = builder.icmp_signed(">=", count, count.type(lanes))
    with builder.if_else(every) as (whole, some):
        with whole:
            place = builder.bitcast(pointer, value.type.as_pointer())
            builder.store(value, place, align=itemsize)
        with some:
            none = builder.icmp_signed("<", count, count.type(0))
            left = builder.select(none, count.type(0), count)
            _store_halves(builder, value, pointer, left, itemsize)


def _store_halves(builder: Any, value: Any, pointer: Any, count: Any, itemsize: int) -> None:
    half = value.type.count // 2
    while half:
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(_I32, half), [*range(at, at + half)])
            )
            for at in (0, half)
        )
        wanted = builder.icmp_signed("!=", builder.and_(count, count.type(half)), count.type(0))
        before = builder.block
        with builder.if_then(wanted):
            place = builder.bitcast(pointer, low.type.as_pointer())
            builder.store(low, place, align=itemsize)
            behind, taken = builder.gep(pointer, [_I64(half)]), builder.block
        value = merged(builder, (high, taken), (low, before))
        pointer = merged(builder, (behind, taken), (pointer, before))
        half //= 2
