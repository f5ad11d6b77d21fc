"""Transposes at the speed of memory: between (N, C, H, W) and (N, H, W, C).

A square block as wide as a vector is turned in registers. Interleaving row i with row i + n/2, for
all i, log2(n) times, transposes an n x n block; each interleaving is one shuffle of two vectors.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.fetch import fetch
from convscape.kernels.cpu.jit import inlined, kernel
from convscape.kernels.cpu.simd import SIMD


def _square(itemsize: int) -> Callable[..., None]:
    """An intrinsic that turns one block of elements of this many bytes.

    The intrinsic is `f(src, at, src_step, dst, to, dst_step, places, first)`: one-dimensional
    contiguous arrays, the block's corner in each, and the distance between its rows. Row i of the
    result is number i, or with an int64 array instead of None, number places[first + i]; of those
    that have the same place the first one stays.
    """
    lanes = SIMD.lanes(itemsize)

    @intrinsic
    def turn(
        _context: Any, src: Any, at: Any, src_step: Any, dst: Any, to: Any, dst_step: Any,
        places: Any, first: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(src, integer, integer, dst, integer, integer, places, integer)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            scalar = ir.FloatType() if itemsize == 4 else ir.DoubleType()
            vector = ir.VectorType(scalar, lanes)

            def data(position: int) -> Any:
                return context.make_array(sig.args[position])(context, builder, args[position]).data

            def number(position: int, i: int) -> Any:
                fixed = ir.Constant(ir.IntType(64), i)
                if position == 0 or isinstance(places, types.NoneType):
                    return fixed
                return builder.load(builder.gep(data(6), [builder.add(args[7], fixed)]))

            def row(position: int, i: int, kind: Any = vector, further: int = 0) -> Any:
                step = builder.mul(args[position + 2], number(position, i))
                at = builder.add(args[position + 1], step)
                at = builder.add(at, ir.Constant(at.type, further))
                return builder.bitcast(builder.gep(data(position), [at]), kind.as_pointer())

            def halves(i: int, start: int) -> Any:
                half = ir.VectorType(scalar, lanes // 2)
                places = (row(0, i + n, half, start) for n in (0, lanes // 2))
                both = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes)))
                return builder.shuffle_vector(
                    *(builder.load(place, align=itemsize) for place in places), both
                )

            if SIMD.bits == 256:
                # Shuffles within halves of a vector take an eighth of the steps of one across.
                side = lanes // 2
                rows = []
                for start in (0, side):
                    rows += turned(builder, [halves(i, start) for i in range(side)])
            else:
                given = [builder.load(row(0, i), align=itemsize) for i in range(lanes)]
                rows = turned(builder, given)
            # The last row first: where several go to one place, the first of them stays.
            for i in reversed(range(lanes)):
                builder.store(rows[i], row(3, i), align=itemsize)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], turn)


_BYTES = SIMD.bits // 8
_AHEAD = 512  # bytes

_turn_single = _square(4)
_turn_double = _square(8)


def turned(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of square blocks, from their rows.

    Vectors longer than there are rows hold several blocks, side by side; each is turned for itself.
    """
    side, lanes = len(rows), rows[0].type.count

    def interleaved(a: Any, b: Any, first: int) -> Any:
        order = [
            v
            for block in range(0, lanes, side)
            for i in range(block + first, block + first + side // 2)
            for v in (i, lanes + i)
        ]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), order)
        return builder.shuffle_vector(a, b, mask)

    for _ in range(side.bit_length() - 1):
        pairs = list(zip(rows[: side // 2], rows[side // 2 :], strict=True))
        rows = [interleaved(a, b, half) for a, b in pairs for half in (0, side // 2)]
    return rows


@inlined
def turn_square(src, at, src_step, dst, to, dst_step):
    """`transpose` of a block with as many rows and columns as a vector has lanes."""
    if src.itemsize == 4:
        _turn_single(src, at, src_step, dst, to, dst_step, None, 0)
    else:
        _turn_double(src, at, src_step, dst, to, dst_step, None, 0)


@kernel
def transpose(src, at, src_step, rows, columns, dst, to, dst_step):
    """Set dst[to + j dst_step + i] = src[at + i src_step + j] for i < rows, j < columns."""
    lanes = _BYTES // src.itemsize
    if rows < lanes or columns < lanes:
        for i in range(rows):
            line = src[at + i * src_step : at + i * src_step + columns]
            for j in range(columns):
                dst[to + j * dst_step + i] = line[j]
        return
    for row in range(0, rows, lanes):
        for column in range(0, columns, lanes):
            # The last blocks are moved back inside; what they share with others is written twice.
            i, j = min(row, rows - lanes), min(column, columns - lanes)
            turn_square(src, at + i * src_step + j, src_step, dst, to + j * dst_step + i, dst_step)


@kernel
def transpose_to(src, at, src_step, rows, columns, dst, to, dst_step, places, first):
    """Set dst[to + places[first + j] dst_step + i] = src[at + i src_step + j], as `transpose`.

    For weights, whose rows are long: a vector's lanes of them are read to their ends, and what will
    be read next is asked for. Hardware does not foresee so many runs at once.
    """
    lanes = _BYTES // src.itemsize
    if rows < lanes or columns < lanes:
        for j in range(columns):
            for i in range(rows):
                dst[to + places[first + j] * dst_step + i] = src[at + i * src_step + j]
        return
    for row in range(0, rows, lanes):
        for column in range(0, columns, lanes):
            i, j = min(row, rows - lanes), min(column, columns - lanes)
            source = at + i * src_step + j
            for r in range(lanes):
                fetch(src, source + r * src_step + _AHEAD // src.itemsize)
            if src.itemsize == 4:
                _turn_single(src, source, src_step, dst, to + i, dst_step, places, first + j)
            else:
                _turn_double(src, source, src_step, dst, to + i, dst_step, places, first + j)
