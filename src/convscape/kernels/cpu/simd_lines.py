"""The register tile with lanes along the lines of an image: rows are output channels.

    y[places[i] + y_shift + j] = clip(bias[i] + Σ_t weight[rows[i] + t] x[start + table[t] + j])

A product's pixels are neighbours in memory, wherever the kernel cell reads them: each cell t has a
distance of its own in the table, so nothing is copied for it. The whole sum is one piece; results
are finished in the registers, as in `convscape.kernels.cpu.simd_finish`.

Eight rows of three vectors fill 32 registers with 24 accumulators and waste nothing on the channel
counts that are in use; four rows fill 16.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import SIMD, Code, word
from convscape.kernels.cpu.simd_finish import row_biases, write

ROWS = 2 * SIMD.vectors
"""Output channels of a tile."""

VECTORS = 3
"""Vectors of a tile's row."""


@intrinsic
def correlate_line(
    _context: Any, weight: Any, rows: Any, first: Any, shift: Any, x: Any, start: Any, table: Any,
    count: Any, y: Any, places: Any, y_shift: Any, bias: Any, real: Any, low: Any, high: Any,
    vectors: Any,
) -> Any:  # fmt: skip
    """Make a tile of `ROWS` rows and so many vectors, `VECTORS` at most.

    Arrays weight, x, y and bias are one-dimensional, contiguous and of one floating dtype; `rows`,
    `places` and `table` are int64. Of rows, places and bias `ROWS` are read from `first` on, of the
    table `count`. Columns behind the `real` first ones are not written.
    """
    integer = types.intp
    signature = types.void(
        weight, rows, integer, integer, x, integer, table, integer, y, places, integer, bias,
        integer, x.dtype, x.dtype, integer,
    )  # fmt: skip

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        code = Code(context, builder, sig, args)
        for many in range(1, VECTORS + 1):
            with builder.if_then(builder.icmp_signed("==", args[15], args[15].type(many))):
                sums = _sums(code, many, row_biases(code, 11, 2, ROWS, many))
                write(code, sums, code.rows(8, 9, 2, 10, ROWS), *args[12:15])
        return context.get_dummy_value()

    return signature, generate


def _sums(code: Code, vectors: int, begin: list[Any]) -> list[Any]:
    """The loop over t."""
    builder = code.builder
    pointers, table = code.rows(0, 1, 2, 3, ROWS), code.data(6)
    x = builder.gep(code.data(4), [code.args[5]])
    before, body, done = builder.block, *(builder.append_basic_block(n) for n in ("over_t", "done"))
    builder.branch(body)
    builder.position_at_end(body)
    t, *sums = code.phis([word(0), *begin], before)
    at = builder.gep(x, [builder.load(builder.gep(table, [t]))])
    products: list[Any] = code.step(pointers, t, at, vectors, sums)
    following = builder.add(t, word(1))
    code.feed([t, *sums], [following, *products], body)
    builder.cbranch(builder.icmp_signed("<", following, code.args[7]), body, done)
    builder.position_at_end(done)
    return products
