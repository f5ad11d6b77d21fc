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

from convscape.kernels.cpu.memory import LINE
from convscape.kernels.cpu.row_values import Formula, Some
from convscape.kernels.cpu.rows import Emitter, members

TOGETHER = 4
"""Vectors at a time, each with sums of its own: an addition need not wait for the last."""

_LINES = 8  # of a plane from which on it pays to write past the caches what it has for itself

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
        whole, shared = self._past_lines(past, writes, numbers)

        def plane(r: Any) -> None:
            start = builder.add(at, builder.mul(r, step))
            source = [builder.gep(p, [start]) for p in reads]
            target = [builder.gep(p, [start]) for p in writes]

            def vector(u: int, c: Any, **how: Any) -> None:
                before = [builder.load(p) for p in places[u]]
                found = self._one(c, source, target, coefficients, before, **how)
                for p, value in zip(places[u], found, strict=True):
                    builder.store(value, p)

            def lines(direct: bool) -> None:
                if direct:
                    self._lines(count, target[0], vector)
                else:
                    self._vectors(count, vector)

            def walk(direct: bool) -> None:
                if direct:
                    # What is written this way waits for memory: one vector at a time will do.
                    self._loop(_I64(0), count, self.lanes, lambda c: vector(0, c, direct=True))
                else:
                    self._either(shared, writes, lines)

            self._either(whole, writes, walk)

        self._loop(_I64(0), many, 1, plane)
        self._settle(builder.or_(whole, shared), writes)
        for n, total in enumerate(sums):
            taken = [builder.load(some[n]) for some in places]
            while len(taken) > 1:
                taken = [
                    self.values.add(a, b) for a, b in zip(taken[::2], taken[1::2], strict=True)
                ]
            cell = builder.gep(total, [to])
            builder.store(builder.fadd(builder.load(cell), self._reduced(taken[0])), cell)

    def _vectors(self, count: Any, vector: Callable[..., None]) -> None:
        """A plane in whole vectors, several at a time; the last may overlap another."""
        builder, wide = self.builder, self.lanes * self.together
        whole = builder.and_(count, _I64(-wide))

        def several(c: Any) -> None:
            for u in range(self.together):
                vector(u, builder.add(c, _I64(u * self.lanes)))

        self._loop(_I64(0), whole, wide, several)
        for u in range(self.together - 1):
            c = builder.add(whole, _I64(u * self.lanes))
            end = builder.add(c, _I64(self.lanes))
            with builder.if_then(builder.icmp_signed("<=", end, count)):
                vector(u, c)
        c = builder.and_(count, _I64(-self.lanes))
        u, back = self.together - 1, builder.sub(count, _I64(self.lanes))
        with builder.if_then(builder.icmp_signed("<", c, count)):
            # A vector that ends where the plane does: a mask takes longer than several of them.
            long = builder.icmp_signed(">=", back, _I64(0))
            with builder.if_else(long, likely=True) as (ends, short):
                with ends:
                    vector(u, back, again=builder.sub(c, back))
                with short:
                    vector(u, c, limit=builder.sub(count, c))

    def _past_lines(self, past: Any, writes: Some, numbers: Some) -> tuple[Any, Any]:
        """Whether to write past the caches planes of whole lines, or those that share a few."""
        builder = self.builder
        _, step, count, at = numbers
        line = LINE // self.itemsize
        rest = builder.and_(count, _I64(line - 1))
        even = builder.and_(past, builder.icmp_signed("==", rest, _I64(0)))
        many = builder.icmp_signed(">=", count, _I64(_LINES * line))
        shared = builder.and_(past, many)
        places = [builder.ptrtoint(p, _I64) for p in writes]
        for place in places:  # they begin alike in all arrays
            apart = builder.and_(builder.sub(place, places[0]), _I64(LINE - 1))
            shared = builder.and_(shared, builder.icmp_signed("==", apart, _I64(0)))
        return self._past(even, writes, at, step), shared

    def _lines(self, count: Any, target: Any, vector: Callable[..., None]) -> None:
        """A plane that is written past the caches, but for the lines that it shares with others.

        Of a line written in two parts the second waits for memory; so a vector that would cross
        into a whole line takes all of it through the caches.
        """
        builder, lanes, line = self.builder, self.lanes, LINE // self.itemsize
        first = builder.sdiv(builder.ptrtoint(target, _I64), _I64(self.itemsize))

        def edge(elements: Any) -> Any:
            own = builder.and_(elements, _I64(line - 1))
            even = builder.icmp_signed("==", builder.and_(own, _I64(lanes - 1)), _I64(0))
            return builder.select(even, own, builder.add(own, _I64(line)))

        def through(begin: Any, end: Any) -> None:
            last = builder.sub(end, _I64(lanes))

            def one(c: Any) -> None:
                early = builder.icmp_signed("<", c, last)
                vector(0, builder.select(early, c, last))

            self._loop(begin, end, lanes, one)

        low = edge(builder.neg(first))
        high = builder.sub(count, edge(builder.add(first, count)))
        through(_I64(0), low)
        self._loop(low, high, lanes, lambda c: vector(0, c, direct=True))
        through(high, count)

    def _reduced(self, vector: Any) -> Any:
        """The sum of a vector's lanes, in float64."""
        suffix = f"v{self.lanes}f{8 * self.itemsize}"
        reduce = self._declare(
            f"llvm.vector.reduce.fadd.{suffix}", self.scalar, [self.scalar, self.vector]
        )
        zero = ir.Constant(self.scalar, -0.0)
        total = self.builder.call(reduce, [zero, vector], fastmath=("reassoc",))
        return total if self.itemsize == 8 else self.builder.fpext(total, ir.DoubleType())
