"""The register tile's last step: sums go from the registers to the result, finished.

    y[places[i] + y_shift + j] = clip(sum[i, j] + (what earlier pieces summed) + bias, low, high)

The tile of `convscape.kernels.cpu.simd` for the last piece of a sum: nothing is written twice, and
no second pass over the results adds the bias or takes the ReLU. Places may repeat: rows behind the
last one repeat it, and write the same numbers to the same place.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import ROWS, Code, word


def finishing_tile(
    vectors: int, whole: bool, across: bool, rows: int = ROWS
) -> Callable[..., None]:
    """An intrinsic for a tile of this many rows and vectors that writes to the result.

    The intrinsic is `f(<those of register_tile>, y, places, p_first, y_shift, bias, bias_at, real,
    low, high)`: `rows` of the int64 `places` are read from `p_first` on; columns behind the `real`
    first ones are not written; what lies outside the two numbers becomes the nearer of them (NaN
    stays).

    Args:
        vectors: Of the tile's rows.
        whole: Whether this piece is the whole sum; else what `tile` holds is added.
        across: Whether the bias is one number a column, bias[bias_at + j]; else one a row,
            bias[bias_at + i]. There are as many as the tile has columns or rows.
        rows: Of the tile, `ROWS` or fewer.
    """

    @intrinsic
    def finish(
        _context: Any, a: Any, table: Any, first: Any, shift: Any, a_jump: Any, a_step: Any, b: Any,
        start: Any, b_jump: Any, b_step: Any, outer: Any, count: Any, tile: Any, t_start: Any,
        y: Any, places: Any, p_first: Any, y_shift: Any, bias: Any, bias_at: Any, real: Any,
        low: Any, high: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(
            a, table, *[integer] * 4, b, *[integer] * 5, tile, integer,
            y, places, integer, integer, bias, integer, integer, a.dtype, a.dtype,
        )  # fmt: skip

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            code = Code(context, builder, sig, args)
            if across:
                biases = [code.vector_at(cell) for cell in code.cells(18, 19, vectors)] * rows
            else:
                biases = row_biases(code, 18, 19, rows, vectors)
            if whole:
                sums = code.sums(vectors, biases, rows)
            else:
                # Added to what was there last, and not begun with: so longer sums lose fewer
                # digits.
                earlier = code.cells(12, 13, rows * vectors)
                later = code.sums(vectors, rows=rows)
                sums = [
                    builder.fadd(builder.fadd(code.vector_at(cell), s), bias)
                    for cell, s, bias in zip(earlier, later, biases, strict=True)
                ]
            write(code, sums, code.rows(14, 15, 16, 17, rows), *args[20:])
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], finish)


def row_biases(code: Code, array: int, start: int, rows: int, vectors: int) -> list[Any]:
    """The bias of every vector of a tile: one number a row, from args[start] of an array on."""
    builder = code.builder
    first = builder.gep(code.data(array), [code.args[start]])
    numbers = [builder.load(builder.gep(first, [word(i)])) for i in range(rows)]
    return [code.splat(number) for number in numbers for _ in range(vectors)]


def write(code: Code, sums: list[Any], places: list[Any], real: Any, low: Any, high: Any) -> None:
    """The bounds, then whole rows or, at the edge, the lanes that are real: a place each row."""
    builder, lanes = code.builder, code.lanes
    rows, vectors = len(places), len(sums) // len(places)
    finished = _bounded(code, _bounded(code, sums, ">", low), "<", high)
    cells = [builder.gep(place, [word(j * lanes)]) for place in places for j in range(vectors)]
    complete = builder.icmp_signed(">=", real, word(vectors * lanes))
    with builder.if_else(complete, likely=True) as (all_lanes, some_lanes):
        with all_lanes:
            for value, cell in zip(finished, cells, strict=True):
                code.store(value, cell)
        with some_lanes:
            masks = [real_lanes(code, real, j) for j in range(vectors)] * rows
            kind = code.vector.as_pointer()
            store = code.function(
                f"llvm.masked.store.v{lanes}f{8 * code.itemsize}.p0",
                ir.VoidType(), [code.vector, kind, ir.IntType(32), masks[0].type],
            )  # fmt: skip
            align = ir.Constant(ir.IntType(32), code.itemsize)
            for value, cell, mask in zip(finished, cells, masks, strict=True):
                builder.call(store, [value, builder.bitcast(cell, kind), align, mask])


def _bounded(code: Code, sums: list[Any], beyond: str, bound: Any) -> list[Any]:
    """The bound where it is beyond a sum: "<" or ">". An infinite one, which none is, is not asked.

    A sum of few products is made in little more time than its bounds would take.
    """
    builder, before = code.builder, code.builder.block
    none = bound.type(float("-inf" if beyond == ">" else "inf"))
    with builder.if_then(builder.fcmp_ordered(beyond, bound, none)):
        everywhere = code.splat(bound)
        # In this order of operands a CPU's maximum and minimum pass NaN on.
        asked = [
            builder.select(builder.fcmp_ordered(beyond, everywhere, total), everywhere, total)
            for total in sums
        ]
        inside = builder.block
    results = code.phis(sums, before)
    code.feed(results, asked, inside)
    return results


def real_lanes(code: Code, real: Any, vector: int) -> Any:
    """The lanes of this vector of a row that are among the first real ones."""
    numbers = ir.VectorType(ir.IntType(64), code.lanes)
    undefined = ir.Constant(numbers, ir.Undefined)
    zero = ir.Constant(ir.IntType(32), 0)
    single = code.builder.insert_element(undefined, real, zero)
    order = ir.Constant(ir.VectorType(ir.IntType(32), code.lanes), [0] * code.lanes)
    real = code.builder.shuffle_vector(single, undefined, order)
    first = vector * code.lanes
    lanes = ir.Constant(numbers, list(range(first, first + code.lanes)))
    return code.builder.icmp_signed("<", lanes, real)


def masked_at(code: Code, pointer: Any, mask: Any) -> Any:
    """A vector from memory of which the lanes in the mask are read; the others are 0."""
    kind = code.vector.as_pointer()
    load = code.function(
        f"llvm.masked.load.v{code.lanes}f{8 * code.itemsize}.p0",
        code.vector, [kind, ir.IntType(32), mask.type, code.vector],
    )  # fmt: skip
    align = ir.Constant(ir.IntType(32), code.itemsize)
    zeros = ir.Constant(code.vector, [0.0] * code.lanes)
    return code.builder.call(load, [code.builder.bitcast(pointer, kind), align, mask, zeros])
