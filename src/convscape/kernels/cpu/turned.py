"""Formulas on short runs that lie one after the other: turned in registers on the way.

A kernel's 9 or 25 cells are neighbours in memory, where a formula wants one vector a cell, with a
lane for each of as many kernels. Here these kernels are read as rows, turned, and given to the
formula at once, or the other way round:

    dst[to + out[j] + i] = function(src[at + i step], src[at + i step + 1], ...)[j],  i < lanes
    dst[to + i step + j] = function(src[at + in[0] + i], src[at + in[1] + i], ...)[j]

Rows are read and written in whole vectors: `reach` says how far beyond a run's end.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.simd import Code
from convscape.kernels.cpu.transpose import turned
from convscape.kernels.cpu.vector import Formula, Lanes


@kernel
def reach(cells, lanes):
    """Elements that a row of this many cells is read or written with."""
    return (cells + lanes - 1) // lanes * lanes


def from_rows(formula: Formula, inputs: int) -> Callable[..., None]:
    """An intrinsic `f(src, at, step, dst, to, writes)`: rows of `inputs` numbers to vectors."""

    @intrinsic
    def apply(
        _context: Any, src: Any, at: Any, step: Any, dst: Any, to: Any, writes: Any
    ) -> Any:  # fmt: skip
        signature = types.void(src, types.intp, types.intp, dst, types.intp, writes)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            code = _Code(context, builder, sig, args)
            values: list[Any] = []
            while len(values) < inputs:
                rows = [code.row(0, i, len(values)) for i in range(code.lanes)]
                values += turned(builder, [code.vector_at(row) for row in rows])
            for j, value in enumerate(formula([Lanes(builder, v) for v in values[:inputs]])):
                code.store(value.value, code.place(3, 5, j))
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


def to_rows(formula: Formula, inputs: int) -> Callable[..., None]:
    """An intrinsic `f(src, at, reads, dst, to, step)`: vectors to rows of numbers.

    Rows are written in turn, the first one first: what one writes beyond its end, the next mends.
    """

    @intrinsic
    def apply(
        _context: Any, src: Any, at: Any, reads: Any, dst: Any, to: Any, step: Any
    ) -> Any:  # fmt: skip
        signature = types.void(src, types.intp, reads, dst, types.intp, types.intp)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            code = _Code(context, builder, sig, args)
            loaded = [Lanes(builder, code.vector_at(code.place(0, 2, j))) for j in range(inputs)]
            values = [value.value for value in formula(loaded)]
            values += [ir.Constant(code.vector, None)] * (-len(values) % code.lanes)
            blocks = range(0, len(values), code.lanes)
            rows = [turned(builder, values[b : b + code.lanes]) for b in blocks]
            for i in range(code.lanes):
                for b, block in zip(blocks, rows, strict=True):
                    code.store(block[i], code.row(3, i, b))
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


class _Code(Code):
    """Places in an array that has an offset, and a step or a table, as its next arguments."""

    def row(self, array: int, i: int, further: int) -> Any:
        """array[start + i step + further]."""
        builder = self.builder
        step = self.args[array + 2]
        at = builder.add(self.args[array + 1], builder.mul(step, _constant(i)))
        return builder.gep(self.data(array), [builder.add(at, _constant(further))])

    def place(self, array: int, table: int, j: int) -> Any:
        """array[start + table[j]]."""
        builder = self.builder
        relative = builder.load(builder.gep(self.data(table), [_constant(j)]))
        return builder.gep(self.data(array), [builder.add(self.args[array + 1], relative)])


def _constant(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)
