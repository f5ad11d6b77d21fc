"""The matrix unit (AMX) on float32: numbers in three parts, products of parts in its tiles.

A float32 has 24 bits of significand, a bfloat16 has 8. So every number is the sum of three

    x = high + middle + low,

cut off, not rounded: each has the next 8 bits, nothing is lost and nothing overflows. Of the nine
products of parts the six of 2^-16 and more are summed, each exact in float32:

    x w = hh + (hm + mh) + (mm + hl + lh) + O(2^-22)

The unit multiplies tiles of 16 rows by 32 products with 16 columns, 16 times as many products as
the vector unit does in float32; with six products a number that is 2.7 times as fast, where the
caches keep up. It adds sums of 32 products to a tile, so that fewer digits are lost than in a plain
sum. Products below 2^-126, also of parts, it takes as zero: outputs below 1e-30 lose digits. And an
Inf becomes NaN, as Inf - Inf is.

A block is 32 products deep. Its products are taken in pairs (k, k + 16), so that two vectors that
lie apart in memory become one of pairs without a shuffle. Of each tile's block there are three
parts, one after the other, `PANEL` numbers in all:

    panel[part, i, 2 j + half] = part of x[row i, k = j + 16 half]        (rows: pixels)
    panel[part, j, 2 i + half] = part of w[k = j + 16 half, column i]     (columns: output channels)

Source: G. Henry, P. T. P. Tang and A. Heinecke, "Leveraging the bfloat16 Artificial Intelligence
Datatype For Higher-Precision Computations", arXiv 1904.06376, section III; Intel 64 and IA-32
Architectures Software Developer's Manual, volume 2, TDPBF16PS.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

SIDE = 16
"""Rows and columns of a tile."""

DEEP = 32
"""Products of a block."""

PART = SIDE * DEEP
"""Numbers of one part of a panel."""

PANEL = 3 * PART
"""Numbers of a panel."""

BLOCK = 2 * SIDE
"""Columns of two tiles, and the distance of rows in what `product` stores."""

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_POINTER = _BYTE.as_pointer()
_LANES = ir.VectorType(ir.IntType(32), SIDE)
_FLOATS = ir.VectorType(ir.FloatType(), SIDE)
_HIGH, _MIDDLE, _LOW = range(3)
_ORDER = (
    (_LOW, _HIGH), (_MIDDLE, _HIGH), (_MIDDLE, _MIDDLE), (_HIGH, _MIDDLE), (_HIGH, _LOW),
    (_HIGH, _HIGH),
)  # fmt: skip
"""Parts of the rows and of the columns: from one product to the next one part changes."""


def _call(builder: Any, name: str, *given: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), given)


def _tile(number: int) -> Any:
    return ir.Constant(_BYTE, number)


def _at(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _POINTER)


@intrinsic
def configure(_context: Any, numbers: Any) -> Any:
    """Give the thread its tiles, as 64 bytes say: palette, then bytes of a row and rows of each."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _call(builder, "ldtilecfg", _at(context, builder, sig.args[0], args[0], _WORD(0)))
        return context.get_dummy_value()

    return types.void(numbers), generate


@intrinsic
def release(_context: Any) -> Any:
    """Give the tiles back: what they hold need not be saved when threads change."""

    def generate(context: Any, builder: Any, _sig: Any, _args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


def product(rows: int, columns: int) -> Callable[..., None]:
    """An intrinsic that multiplies one or two tiles of rows with one or two of columns.

    The intrinsic is `f(a, a_at, a_step, b, b_at, b_step, blocks, sums)`: uint16 arrays of panels,
    where the first tile's panels begin in each and how far the second's lie behind; how many
    blocks; and a float32 array whose first `BLOCK` rows of `BLOCK` numbers the sums become.
    """

    @intrinsic
    def multiply(
        _context: Any, a: Any, a_at: Any, a_step: Any, b: Any, b_at: Any, b_step: Any, blocks: Any,
        sums: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(a, integer, integer, b, integer, integer, integer, sums)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def begins(array: int, count: int) -> list[Any]:
                return [
                    _at(
                        context, builder, sig.args[array], args[array],
                        builder.add(args[array + 1], builder.mul(args[array + 2], _WORD(i))),
                    )
                    for i in range(count)
                ]  # fmt: skip

            def load(first: int, places: list[Any], moved: Any) -> None:
                for i, place in enumerate(places):
                    here = builder.gep(place, [moved])
                    _call(builder, "tileloadd64", _tile(first + i), here, _WORD(2 * DEEP))

            pairs = [(i, j) for i in range(rows) for j in range(columns)]
            for i, j in pairs:
                _call(builder, "tilezero", _tile(2 * i + j))
            left, right = begins(0, rows), begins(3, columns)
            with cgutils.for_range(builder, args[6]) as loop:
                base = builder.mul(loop.index, _WORD(2 * PANEL))
                held: tuple[int | None, int | None] = None, None
                for parts in _ORDER:
                    moved = [builder.add(base, _WORD(2 * PART * part)) for part in parts]
                    if parts[0] != held[0]:
                        load(4, left, moved[0])
                    if parts[1] != held[1]:
                        load(6, right, moved[1])
                    held = parts
                    for i, j in pairs:
                        given = _tile(2 * i + j), _tile(4 + i), _tile(6 + j)
                        _call(builder, "tdpbf16ps", *given)
            for i, j in pairs:
                to = _at(context, builder, sig.args[7], args[7], _WORD(SIDE * (i * BLOCK + j)))
                _call(builder, "tilestored64", _tile(2 * i + j), to, _WORD(4 * BLOCK))
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], multiply)


@intrinsic
def split(_context: Any, x: Any, first: Any, second: Any, panel: Any, to: Any) -> Any:
    """Write the three parts of 16 pairs (x[first + j], x[second + j]), each a line of a panel.

    `x` is float32, `panel` uint16; the line of the first part begins at panel[to].
    """
    integer = types.intp

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        top = ir.Constant(_LANES, [0xFFFF0000] * SIDE)
        sixteen = ir.Constant(_LANES, [16] * SIDE)
        rest = []
        for index in args[1:3]:
            place = _at(context, builder, sig.args[0], args[0], index)
            rest.append(builder.load(builder.bitcast(place, _FLOATS.as_pointer()), align=4))
        for part in range(3):
            bits = [builder.bitcast(value, _LANES) for value in rest]
            pair = builder.or_(builder.lshr(bits[0], sixteen), builder.and_(bits[1], top))
            index = builder.add(args[4], _WORD(part * PART))
            place = _at(context, builder, sig.args[3], args[3], index)
            builder.store(pair, builder.bitcast(place, _LANES.as_pointer()), align=2)
            if part < _LOW:
                rest = [
                    builder.fsub(value, builder.bitcast(builder.and_(b, top), _FLOATS))
                    for value, b in zip(rest, bits, strict=True)
                ]
        return context.get_dummy_value()

    return types.void(x, integer, integer, panel, integer), generate
