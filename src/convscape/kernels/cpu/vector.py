"""Formulas on whole vectors: one readable Python function, emitted as straight-line SIMD code.

    dst[to + out[j] + c] = function(src[at + in[0] + c], src[at + in[1] + c], ...)[j],  c < count

LLVM's vectorizer gives up on a loop that reads and writes dozens of streams, because it cannot
prove them apart. Here the caller promises that the destination does not overlap the source.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import SIMD

Formula = Callable[[Any], Iterable[Any]]
"""From the values read to the values written, in `+`, `-` and `*` with a constant.

Values are read when they are indexed, and written as they come. One that is needed again behind a
result may be indexed again: it is then read again, where holding it would take a register.
"""

_FLAGS = ("contract",)  # a product and a sum may round once


class Lanes:
    """A vector (or one number) of the code being emitted, with the operators of arithmetic."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def __add__(self, other: "Lanes") -> "Lanes":
        return Lanes(self.builder, self.builder.fadd(self.value, other.value, flags=_FLAGS))

    def __sub__(self, other: "Lanes") -> "Lanes":
        return Lanes(self.builder, self.builder.fsub(self.value, other.value, flags=_FLAGS))

    def __mul__(self, factor: float) -> "Lanes":
        kind = self.value.type
        many = isinstance(kind, ir.VectorType)
        constant = ir.Constant(kind, [factor] * kind.count if many else factor)
        return Lanes(self.builder, self.builder.fmul(self.value, constant, flags=_FLAGS))

    def positive(self) -> "Lanes":
        """Zero where the value is below it; NaN stays."""
        kind = self.value.type
        many = isinstance(kind, ir.VectorType)
        zero = ir.Constant(kind, [0.0] * kind.count if many else 0.0)
        below = self.builder.fcmp_ordered("<", self.value, zero)
        return Lanes(self.builder, self.builder.select(below, zero, self.value))


def elementwise(
    formula: Formula, inputs: int, outputs: int, extra: bool = False
) -> Callable[..., None]:
    """An intrinsic that applies a formula along contiguous runs.

    The intrinsic is `f(src, at, reads, dst, to, writes, count, more, more_at)`: one-dimensional
    contiguous arrays src, dst and more of one floating dtype; int64 arrays of relative addresses,
    of which the first `inputs` and `outputs` are used; and integers. With `extra` the formula's
    last value is more[more_at + c]; without it `more` is not read.
    """

    @intrinsic
    def apply(
        _context: Any, src: Any, at: Any, reads: Any, dst: Any, to: Any, writes: Any,
        count: Any, more: Any, more_at: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(src, integer, reads, dst, integer, writes, integer, more, integer)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def data(position: int) -> Any:
                return context.make_array(sig.args[position])(context, builder, args[position]).data

            scalar = ir.FloatType() if src.dtype == types.float32 else ir.DoubleType()
            itemsize = src.dtype.bitwidth // 8
            another = builder.gep(data(7), [args[8]]) if extra else None
            _emit(
                builder, formula, (inputs, outputs), scalar, itemsize,
                (data(0), args[1], data(2)), (data(3), args[4], data(5)), args[6], another,
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


def _emit(
    builder: Any, formula: Formula, numbers: tuple[int, int], scalar: Any, itemsize: int,
    source: tuple[Any, Any, Any], target: tuple[Any, Any, Any], count: Any, another: Any,
) -> None:  # fmt: skip
    """The vector loop, and one number at a time for what is left of the run."""
    i64 = ir.IntType(64)
    lanes = SIMD.lanes(itemsize)
    whole = builder.and_(count, ir.Constant(i64, -lanes))

    def loop(first: Any, last: Any, step: int, kind: Any) -> None:
        before = builder.block
        body = builder.append_basic_block("elements")
        after = builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", first, last), body, after)
        builder.position_at_end(body)
        c = builder.phi(i64)
        c.add_incoming(first, before)
        values = _Values(builder, c, source, numbers[0], another, kind, itemsize)
        written = _Values(builder, c, target, numbers[1], None, kind, itemsize)
        for i, result in zip(range(numbers[1]), formula(values), strict=True):
            builder.store(result.value, written.place(i), align=itemsize)
        advanced = builder.add(c, ir.Constant(i64, step))
        c.add_incoming(advanced, builder.block)
        builder.cbranch(builder.icmp_signed("<", advanced, last), body, after)
        builder.position_at_end(after)

    loop(ir.Constant(i64, 0), whole, lanes, ir.VectorType(scalar, lanes))
    loop(whole, count, 1, scalar)


class _Values:
    """Element c of many runs of one array; the addresses come from the table at each use.

    There are more of them than registers for addresses, so nothing is gained by computing them
    before the loop.
    """

    def __init__(
        self, builder: Any, c: Any, memory: tuple[Any, Any, Any], many: int, another: Any,
        kind: Any, itemsize: int,
    ) -> None:  # fmt: skip
        data, base, self.table = memory
        self.builder, self.kind, self.itemsize, self.many = builder, kind, itemsize, many
        self.start = builder.gep(data, [builder.add(base, c)])
        self.another = None if another is None else builder.gep(another, [c])

    def __len__(self) -> int:
        return self.many + (self.another is not None)

    def place(self, i: int) -> Any:
        builder = self.builder
        if i < self.many:
            entry = builder.gep(self.table, [ir.Constant(ir.IntType(64), i)])
            pointer = builder.gep(self.start, [builder.load(entry)])
        else:
            pointer = self.another
        return builder.bitcast(pointer, self.kind.as_pointer())

    def __getitem__(self, i: int) -> Lanes:
        return Lanes(self.builder, self.builder.load(self.place(i), align=self.itemsize))
