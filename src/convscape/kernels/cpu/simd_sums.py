"""The register tile of a weight gradient with lanes along the lines: rows and cells are both read.

    sums[j, i] += Σ_{o, p} dy[rows[first + i] + shift + o jump + p]
                           x[table[cell + j] + start + o x_jump + p],  o < lines, p < width

A vector of accumulators holds the sums of its lanes' pixels, so that neither side is broadcast or
turned; the lanes are folded at the end. The tile is as large as that of `simd_lines`: a vector of
dy is read for three products, one of x, which mostly lies across two lines of the cache, for eight.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import Code, word
from convscape.kernels.cpu.simd_finish import masked_at, real_lanes
from convscape.kernels.cpu.simd_lines import ROWS, VECTORS


def parts_of_sum(lanes: int) -> int:
    """Numbers in which `add_products` leaves a sum."""
    return max(1, lanes // ROWS)


@intrinsic
def add_products(
    _context: Any, dy: Any, rows: Any, first: Any, shift: Any, jump: Any, x: Any, table: Any,
    cell: Any, start: Any, x_jump: Any, lines: Any, width: Any, sums: Any, to: Any,
) -> Any:  # fmt: skip
    """Add to a tile of sums, for `ROWS` rows i and `VECTORS` cells j.

    Arrays dy, x and sums are one-dimensional, contiguous and of one floating dtype, `rows` and
    `table` int64. There is at least one line. The tile begins at `to`, and has `parts_of_sum`
    neighbours for each sum, which are still to be added up.
    """
    integer = types.intp
    signature = types.void(dy, rows, *[integer] * 3, x, table, *[integer] * 5, sums, integer)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        code = Code(context, builder, sig, args)
        sums = _over_lines(code)
        folded = [v for j in range(VECTORS) for v in _folded(code, sums[j::VECTORS])]
        for place, total in zip(code.cells(12, 13, len(folded)), folded, strict=True):
            code.store(builder.fadd(code.vector_at(place), total), place)
        return context.get_dummy_value()

    return signature, generate


def _over_lines(code: Code) -> list[Any]:
    """The loop over o; in it the loop over whole vectors of p, and what is left of the line."""
    builder, args = code.builder, code.args
    lanes, zero, one = word(code.lanes), word(0), word(1)
    above, beside = code.rows(0, 1, 2, 3, ROWS), code.rows(5, 6, 7, 8, VECTORS)
    width = args[11]
    whole, rest = builder.sdiv(width, lanes), builder.srem(width, lanes)
    mask = real_lanes(code, rest, 0)

    def products(at: Any, x_at: Any, sums: list[Any], load: Callable[[Any], Any]) -> list[Any]:
        columns = [load(builder.gep(pointer, [x_at])) for pointer in beside]
        rows = (load(builder.gep(pointer, [at])) for pointer in above)
        pairs = ((row, column) for row in rows for column in columns)
        return [
            builder.call(code.fma, [*pair, total]) for pair, total in zip(pairs, sums, strict=True)
        ]

    names = "over_o", "over_p", "left", "some", "next_o", "done"
    over_o, over_p, left, some, next_o, done = (builder.append_basic_block(name) for name in names)
    begin = [ir.Constant(code.vector, [0.0] * code.lanes)] * (ROWS * VECTORS)
    before = builder.block
    builder.branch(over_o)

    builder.position_at_end(over_o)
    outer = code.phis([zero, zero, zero, *begin], before)
    o, at, x_at = outer[:3]
    builder.cbranch(builder.icmp_signed(">", whole, zero), over_p, left)

    builder.position_at_end(over_p)
    inner = code.phis([zero, *outer[1:]], over_o)
    following = builder.add(inner[0], one)
    stepped = [builder.add(place, lanes) for place in inner[1:3]]
    stepped += products(inner[1], inner[2], inner[3:], code.vector_at)
    code.feed(inner, [following, *stepped], over_p)
    builder.cbranch(builder.icmp_signed("<", following, whole), over_p, left)

    builder.position_at_end(left)
    reached = code.phis(outer[1:], over_o)
    code.feed(reached, stepped, over_p)
    builder.cbranch(builder.icmp_signed(">", rest, zero), some, next_o)

    builder.position_at_end(some)
    added = products(reached[0], reached[1], reached[2:], lambda at: masked_at(code, at, mask))
    builder.branch(next_o)

    builder.position_at_end(next_o)
    sums = code.phis(reached[2:], left)
    code.feed(sums, added, some)
    o_next = builder.add(o, one)
    code.feed(outer, [o_next, builder.add(at, args[4]), builder.add(x_at, args[9]), *sums], next_o)
    builder.cbranch(builder.icmp_signed("<", o_next, args[10]), over_o, done)

    builder.position_at_end(done)
    return sums


def _folded(code: Code, sums: list[Any]) -> list[Any]:
    """Vectors folded into as few as hold a lane or more of each, in their order."""
    builder, lanes = code.builder, code.lanes
    even, odd = (
        ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(first, 2 * lanes, 2)))
        for first in (0, 1)
    )
    together = min(len(sums), lanes)
    while together > 1:
        pairs = zip(sums[::2], sums[1::2], strict=True)
        sums = [
            builder.fadd(builder.shuffle_vector(*pair, even), builder.shuffle_vector(*pair, odd))
            for pair in pairs
        ]
        together //= 2
    return sums
