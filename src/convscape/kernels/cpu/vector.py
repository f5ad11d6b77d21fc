"""Formulas on whole vectors: one readable Python function, emitted as straight-line SIMD code.

    dst[to + out[j] + c] = function(src[at + in[0] + c], src[at + in[1] + c], ...)[j],  c < count

LLVM's vectorizer gives up on a loop that reads and writes dozens of streams, because it cannot
prove them apart. Here the caller promises that the destination does not overlap the source.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import SIMD

Formula = Callable[[Sequence[Any]], Sequence[Any]]
"""From the values read to the values written, in `+`, `-` and `*` with a constant."""

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

    def constant(value: int) -> Any:
        return ir.Constant(i64, value)

    def pointers(memory: Any, base: Any, relative: Any, many: int) -> list[Any]:
        offsets = [builder.load(builder.gep(relative, [constant(i)])) for i in range(many)]
        return [builder.gep(memory, [builder.add(base, offset)]) for offset in offsets]

    read = pointers(*source, numbers[0]) + ([] if another is None else [another])
    written = pointers(*target, numbers[1])
    whole = builder.and_(count, constant(-lanes))

    def loop(first: Any, last: Any, step: int, kind: Any) -> None:
        before = builder.block
        body = builder.append_basic_block("elements")
        after = builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", first, last), body, after)
        builder.position_at_end(body)
        c = builder.phi(i64)
        c.add_incoming(first, before)

        def place(pointer: Any) -> Any:
            return builder.bitcast(builder.gep(pointer, [c]), kind.as_pointer())

        values = [Lanes(builder, builder.load(place(pointer), align=itemsize)) for pointer in read]
        for pointer, result in zip(written, formula(values), strict=True):
            builder.store(result.value, place(pointer), align=itemsize)
        advanced = builder.add(c, constant(step))
        c.add_incoming(advanced, builder.block)
        builder.cbranch(builder.icmp_signed("<", advanced, last), body, after)
        builder.position_at_end(after)

    loop(constant(0), whole, lanes, ir.VectorType(scalar, lanes))
    loop(whole, count, 1, scalar)
