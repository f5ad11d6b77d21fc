"""Sums of the matrix unit on their way to the result: biased, clipped, a pixel at a time."""

from typing import Any

from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.amx_tiles import BLOCK, SIDE
from convscape.kernels.cpu.simd import Code
from convscape.kernels.cpu.simd_finish import write


@intrinsic
def finish(
    _context: Any, sums: Any, at: Any, bias: Any, b_at: Any, y: Any, to: Any, real: Any, low: Any,
    high: Any,
) -> Any:  # fmt: skip
    """y[to + j] = clip(sums[at + j] + bias[b_at + j], low, high) for the real j of a block.

    NaN stays. `y` may be `sums`.
    """
    integer = types.intp
    signature = types.void(
        sums, integer, bias, integer, y, integer, integer, sums.dtype, sums.dtype
    )

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        code = Code(context, builder, sig, args)
        vectors = BLOCK // SIDE
        cells, biases = (code.cells(n, n + 1, vectors) for n in (0, 2))
        totals = [
            builder.fadd(code.vector_at(cell), code.vector_at(added))
            for cell, added in zip(cells, biases, strict=True)
        ]
        place = builder.gep(code.data(4), [args[5]])
        write(code, totals, [place], *args[6:])
        return context.get_dummy_value()

    return signature, generate
