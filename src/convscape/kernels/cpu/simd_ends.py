"""The ends of lines: so many lanes of a vector as there are elements left.

AVX-512 stores under a mask as fast as without one. On AVX2 that takes up to 40 steps: there halves
of the vector are stored, by the bits of the count.

Source: A. Fog, "Instruction tables" (VMASKMOVPS to memory: 18 steps for 128 bits and 42 for 256 on
the first Zen).
"""

from typing import Any

from llvmlite import ir

from convscape.kernels.cpu.simd import SIMD

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
    place = builder.bitcast(pointer, value.type.as_pointer())
    if SIMD.bits == 512:
        _store_masked(builder, value, place, count, itemsize)
        return
    every = builder.icmp_signed(">=", count, count.type(lanes))
    with builder.if_else(every) as (whole, some):
        with whole:
            builder.store(value, place, align=itemsize)
        with some:
            none = builder.icmp_signed("<", count, count.type(0))
            left = builder.select(none, count.type(0), count)
            first = builder.bitcast(pointer, value.type.element.as_pointer())
            _store_halves(builder, value, first, left, itemsize)


def _store_masked(builder: Any, value: Any, place: Any, count: Any, itemsize: int) -> None:
    element, lanes = value.type.element, value.type.count
    numbers = ir.VectorType(_I32, lanes)
    # A count is a few elements of a line, or negative: 32 bits hold it.
    one = builder.insert_element(
        ir.Constant(numbers, ir.Undefined), builder.trunc(count, _I32), _I32(0)
    )
    spread = builder.shuffle_vector(one, one, ir.Constant(numbers, [0] * lanes))
    mask = builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), spread)
    letter = "i" if isinstance(element, ir.IntType) else "f"
    name = f"llvm.masked.store.v{lanes}{letter}{8 * itemsize}.p0"
    kind = ir.FunctionType(ir.VoidType(), [value.type, place.type, _I32, mask.type])
    module = builder.module
    store = module.globals.get(name) or ir.Function(module, kind, name)
    builder.call(store, [value, place, _I32(itemsize), mask])


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
