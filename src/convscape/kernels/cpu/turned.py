"""Formulas on short runs that lie one after the other: turned in registers on the way.

A kernel's 9 or 25 cells are neighbours in memory, where a formula wants one vector a cell, with a
lane for each of as many kernels. Here these kernels are read as rows, turned, and given to the
formula at once, or the other way round, or read and written as vectors:

    dst[to + j plane + i] = function(src[at + i step], src[at + i step + 1], ...)[j],  i < lanes
    dst[to + i step + j] = function(src[at + i], src[at + plane + i], ...)[j]
    dst[to + j plane + i] = function(src[at + i], src[at + step + i], ...)[j]

Rows are read and written four numbers at a time, never beyond their ends. Four such pieces fill a
vector: four rows become four columns by shuffles that stay within its quarters, half as many as a
square of whole vectors takes.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import Code, word
from convscape.kernels.cpu.transpose import turned
from convscape.kernels.cpu.vector import Formula, Lanes


def from_rows(formula: Formula, inputs: int) -> Callable[..., None]:
    """An intrinsic `f(src, at, step, dst, to, plane)`: rows of `inputs` numbers to vectors."""
    return _between(lambda code: code.store_vectors(formula(code.columns(inputs))))


def from_vectors(formula: Formula, inputs: int) -> Callable[..., None]:
    """An intrinsic `f(src, at, step, dst, to, plane)`: vectors to vectors."""
    return _between(lambda code: code.store_vectors(formula(_Vectors(code, inputs))))


def to_rows(formula: Formula, inputs: int) -> Callable[..., None]:
    """An intrinsic `f(src, at, plane, dst, to, step)`: vectors to rows of numbers."""
    return _between(lambda code: code.store_columns(formula(_Vectors(code, inputs))))


def _between(emit: Callable[["_Code"], None]) -> Callable[..., None]:
    """An intrinsic on two arrays, each with an offset and a step."""

    @intrinsic
    def apply(
        _context: Any, src: Any, at: Any, step: Any, dst: Any, to: Any, plane: Any
    ) -> Any:  # fmt: skip
        signature = types.void(src, types.intp, types.intp, dst, types.intp, types.intp)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit(_Code(context, builder, sig, args))
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


class _Vectors:
    """The vectors of the first array, read where they are used: all at once fill the registers."""

    def __init__(self, code: "_Code", many: int) -> None:
        self.code, self.many = code, many

    def __len__(self) -> int:
        return self.many

    def __getitem__(self, i: int) -> Lanes:
        return Lanes(self.code.builder, self.code.vector_at(self.code.row(0, i, 0)))


class _Code(Code):
    """Rows and vectors in two arrays, each with an offset and a step as its next arguments."""

    @property
    def side(self) -> int:
        """Rows and columns of the blocks that are turned, which lie side by side in a vector."""
        return min(4, self.lanes)

    def store_vectors(self, values: Iterable[Any]) -> None:
        """Vectors to the second array, one a step."""
        for j, value in enumerate(values):
            self.store(value.value, self.row(3, j, 0))

    def columns(self, count: int) -> list[Lanes]:
        """A vector for each of `count` numbers of the first array's rows; a lane is a row."""
        found: dict[int, Lanes] = {}
        for start in self._starts(count):
            rows = [self._side_by_side(first, start) for first in range(self.side)]
            columns = enumerate(turned(self.builder, rows), start)
            found |= {j: Lanes(self.builder, column) for j, column in columns}
        return [found[j] for j in range(count)]

    def store_columns(self, values: Iterable[Any]) -> None:
        """What `columns` reads, to the second array's rows."""
        vectors = [value.value for value in values]
        for start in self._starts(len(vectors)):
            rows = turned(self.builder, vectors[start : start + self.side])
            for first, row in enumerate(rows):
                self._store_apart(row, first, start)

    def _starts(self, count: int) -> list[int]:
        """Where the short runs begin that rows are cut into; the last one may overlap another."""
        return [*range(0, count - self.side, self.side), count - self.side]

    def _side_by_side(self, first: int, start: int) -> Any:
        """The numbers from `start` on of the rows first, first + side, ..., in one vector."""
        whole = ir.Constant(self.vector, ir.Undefined)
        for at in range(0, self.lanes, self.side):
            place = self._short(0, first + at, start)
            part = self.builder.load(place, align=self.itemsize)
            wide = self._shuffled(part, part, [i % self.side for i in range(self.lanes)])
            chosen = [self.lanes + i if at <= i < at + self.side else i for i in range(self.lanes)]
            whole = self._shuffled(whole, wide, chosen)
        return whole

    def _store_apart(self, vector: Any, first: int, start: int) -> None:
        """The opposite of `_side_by_side`, to the second array."""
        for at in range(0, self.lanes, self.side):
            part = self._shuffled(vector, vector, list(range(at, at + self.side)))
            self.builder.store(part, self._short(3, first + at, start), align=self.itemsize)

    def _shuffled(self, a: Any, b: Any, order: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
        return self.builder.shuffle_vector(a, b, mask)

    def _short(self, array: int, i: int, start: int) -> Any:
        """Where a row's numbers from `start` on are."""
        kind = ir.VectorType(self.vector.element, self.side)
        return self.builder.bitcast(self.row(array, i, start), kind.as_pointer())

    def row(self, array: int, i: int, further: int) -> Any:
        """array[start + i step + further]."""
        builder = self.builder
        step = self.args[array + 2]
        at = builder.add(self.args[array + 1], builder.mul(step, word(i)))
        return builder.gep(self.data(array), [builder.add(at, word(further))])
