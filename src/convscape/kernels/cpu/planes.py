"""Formulas along the planes of one channel: coefficients are numbers, sums stay in registers.

The twin of `rows` for runs of memory that share their coefficients: `many` planes, `step` elements
apart, of `count` elements.

    write[at + r step + c] = formula(read[at + r step + c], known),  sum[to] += Σ of it

A sum is taken in the arrays' precision over one call, in several vectors at once, and added to a
number in float64: whoever calls it bounds how many values that are.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from convscape.kernels.cpu.rows import Emitter, Formula, Some, members

TOGETHER = 4
"""Vectors at a time, each with sums of its own: an addition need not wait for the last."""

_I64 = ir.IntType(64)


def planes(formula: Formula) -> Callable[..., None]:
    """An intrinsic that applies a formula along planes.

    The intrinsic is `f(many, step, count, at, reads, writes, known, sums, to, past)`: integers,
    tuples of one-dimensional contiguous arrays of one floating dtype, a tuple of numbers, a tuple
    of float64 arrays and an index into these; and whether to write past the caches.
    """

    @intrinsic
    def walk(
        _context: Any, many: Any, step: Any, count: Any, at: Any, reads: Any,
        writes: Any, known: Any, sums: Any, to: Any, past: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(*[integer] * 4, reads, writes, known, sums, integer, types.boolean)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            scalar = ir.FloatType() if reads.types[0].dtype == types.float32 else ir.DoubleType()
            given = [members(context, builder, sig, args, n) for n in range(4, 8)]
            emitter = _Planes(builder, scalar, formula, TOGETHER)
            emitter.planes(args[:4], given[0], given[1], given[2], given[3], *args[8:])
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], walk)


class _Planes(Emitter):
    """Writes the loops over planes and along them."""

    def planes(
        self, numbers: Some, reads: Some, writes: Some, known: Some, sums: Some, to: Any, past: Any
    ) -> None:
        """All planes, then what their sums add to."""
        builder = self.builder
        many, step, count, at = numbers
        coefficients = [self._splat(k) for k in known]
        # LLVM keeps these in registers.
        places = [
            [cgutils.alloca_once(builder, self.vector) for _ in sums] for _ in range(self.together)
        ]
        for place in (p for some in places for p in some):
            builder.store(self.values.zero, place)
        wide = self.lanes * self.together
        whole = builder.and_(count, _I64(-wide))
        past = self._past(past, writes, at, step)

        def plane(r: Any) -> None:
            start = builder.add(at, builder.mul(r, step))
            source = [builder.gep(p, [start]) for p in reads]
            target = [builder.gep(p, [start]) for p in writes]

            def vector(u: int, c: Any, limit: Any = None, direct: bool = False) -> None:
                before = [builder.load(p) for p in places[u]]
                found = self._one(c, source, target, coefficients, before, limit, direct)
                for p, value in zip(places[u], found, strict=True):
                    builder.store(value, p)

            def vectors(c: Any) -> None:
                for u in range(self.together):
                    vector(u, builder.add(c, _I64(u * self.lanes)))

            def walk(direct: bool) -> None:
                if direct:  # what is written this way waits for memory: one at a time will do
                    self._loop(_I64(0), whole, self.lanes, lambda c: vector(0, c, None, True))
                else:
                    self._loop(_I64(0), whole, wide, vectors)

            self._either(past, writes, walk)
            # What is left: fewer whole vectors than are taken together, and a part of one.
            for u in range(self.together - 1):
                c = builder.add(whole, _I64(u * self.lanes))
                end = builder.add(c, _I64(self.lanes))
                with builder.if_then(builder.icmp_signed("<=", end, count)):
                    vector(u, c)
            c = builder.and_(count, _I64(-self.lanes))
            with builder.if_then(builder.icmp_signed("<", c, count)):
                vector(self.together - 1, c, builder.sub(count, c))

        self._loop(_I64(0), many, 1, plane)
        self._settle(past, writes)
        for n, total in enumerate(sums):
            taken = [builder.load(some[n]) for some in places]
            while len(taken) > 1:
                taken = [
                    self.values.add(a, b) for a, b in zip(taken[::2], taken[1::2], strict=True)
                ]
            cell = builder.gep(total, [to])
            builder.store(builder.fadd(builder.load(cell), self._reduced(taken[0])), cell)

    def _reduced(self, vector: Any) -> Any:
        """The sum of a vector's lanes, in float64."""
        suffix = f"v{self.lanes}f{8 * self.itemsize}"
        reduce = self._declare(
            f"llvm.vector.reduce.fadd.{suffix}", self.scalar, [self.scalar, self.vector]
        )
        zero = ir.Constant(self.scalar, -0.0)
        total = self.builder.call(reduce, [zero, vector], fastmath=("reassoc",))
        return total if self.itemsize == 8 else self.builder.fpext(total, ir.DoubleType())
