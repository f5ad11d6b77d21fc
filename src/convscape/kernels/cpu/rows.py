"""Formulas along rows of memory, several rows at a time: what normalization is made of.

A formula is applied to `many` rows, `step` elements apart, of `count` elements, the last one of
`last`. It reads arrays there and writes others; coefficients, one an element of a row, stay the
same from row to row, and sums, likewise one an element of a row, are added to by every row.

    write[at + r step + c], sum[c] = formula(read[at + r step + c], known[c], sum[c])

The vectors are emitted as LLVM IR: LLVM would have to prove that all these arrays are disjoint,
and gives up. The caller promises it, and that nothing that is written is read: the last vector of a
row is moved back inside, and what it shares with another is written twice.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.memory import LINE
from convscape.kernels.cpu.row_values import Formula, Some, Values
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.simd_ends import merged

PAD = SIMD.bits // 32
"""Coefficients and sums are read in whole vectors: their arrays are as long as a multiple of it."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def rows(formula: Formula, together: int) -> Callable[..., None]:
    """An intrinsic that applies a formula along rows.

    The intrinsic is `f(many, step, count, last, at, reads, writes, known, sums, past)`: integers,
    and tuples of one-dimensional contiguous arrays of one floating dtype; a coefficient may be a
    number instead, the same for all elements; and whether to write past the caches. At least one
    array is read.

    Args:
        formula: What is computed.
        together: Rows at a time: sums are read and written once for all of them.
    """

    @intrinsic
    def walk(
        _context: Any, many: Any, step: Any, count: Any, last: Any, at: Any, reads: Any,
        writes: Any, known: Any, sums: Any, past: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(*[types.intp] * 5, reads, writes, known, sums, types.boolean)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            scalar = ir.FloatType() if reads.types[0].dtype == types.float32 else ir.DoubleType()
            emitter = Emitter(builder, scalar, formula, together)
            given = [members(context, builder, sig, args, n) for n in range(5, 9)]
            emitter.walk(args[:5], given[0], given[1], given[2], given[3], args[9])
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], walk)


def members(context: Any, builder: Any, sig: Any, args: Any, position: int) -> list[Any]:
    """What an argument that is a tuple holds: numbers, and the memory of arrays."""
    found = []
    for n, kind in enumerate(sig.args[position].types):
        member = builder.extract_value(args[position], n)
        if isinstance(kind, types.Array):
            member = context.make_array(kind)(context, builder, member).data
        found.append(member)
    return found


class Emitter:
    """Writes the loops over rows and along them."""

    def __init__(self, builder: Any, scalar: Any, formula: Formula, together: int) -> None:
        self.builder = builder
        self.scalar = scalar
        self.formula = formula
        self.together = together
        self.itemsize = 4 if isinstance(scalar, ir.FloatType) else 8
        self.lanes = SIMD.lanes(self.itemsize)
        self.vector = vector = ir.VectorType(scalar, self.lanes)
        mask = ir.VectorType(ir.IntType(1), self.lanes)
        suffix = f"v{self.lanes}f{8 * self.itemsize}"
        tail = [vector.as_pointer(), _I32, mask]
        self._load = self._declare(f"llvm.masked.load.{suffix}.p0", vector, [*tail, vector])
        self._store = self._declare(
            f"llvm.masked.store.{suffix}.p0", ir.VoidType(), [vector, *tail]
        )
        self.values = Values(
            builder, vector, self._declare(f"llvm.fma.{suffix}", vector, [vector] * 3)
        )

    def walk(
        self, numbers: Some, reads: Some, writes: Some, known: Some, sums: Some, past: Any
    ) -> None:
        """All rows, several at a time."""
        builder = self.builder
        many, step, count, last, at = numbers
        final = builder.sub(many, _constant(1))
        even = builder.icmp_signed("==", last, count)
        entire = builder.select(even, many, final)  # rows that are not cut short
        whole = builder.and_(count, _constant(-self.lanes))
        past = self._past(past, writes, at, step)
        # Numbers are spread over a vector once.
        kept = [k if self._is_memory(k) else self._splat(k) for k in known]

        def group(r: Any) -> None:
            these = [builder.add(r, _constant(u)) for u in range(self.together)]
            starts = [builder.add(at, builder.mul(number, step)) for number in these]
            sources = [[builder.gep(p, [start]) for p in reads] for start in starts]
            targets = [[builder.gep(p, [start]) for p in writes] for start in starts]
            fits = builder.icmp_signed("<=", builder.add(r, _constant(self.together)), entire)
            full = builder.select(fits, whole, _constant(0))
            self._either(past, writes, lambda direct: self._loop(
                _constant(0), full, self.lanes,
                lambda c: self._apply(c, sources, targets, kept, sums, direct=direct),
            ))  # fmt: skip
            # What is left of whole rows: a vector that ends where they do.
            over = builder.icmp_signed("<", full, count)
            long = builder.and_(fits, builder.icmp_signed(">=", count, _constant(self.lanes)))
            ends = builder.and_(over, long)
            with builder.if_then(ends):
                back = builder.sub(count, _constant(self.lanes))
                again = builder.sub(full, back)
                self._apply(back, sources, targets, kept, sums, again=again)
            full = builder.select(ends, count, full)
            # What is left, rows or short ones, lane by lane: those that take no part add nothing.
            limits = [
                builder.select(
                    builder.icmp_signed("<", number, final), count,
                    builder.select(
                        builder.icmp_signed("==", number, final), last, _constant(0)
                    ),
                )
                for number in these
            ]  # fmt: skip
            self._loop(
                full, count, self.lanes,
                lambda c: self._apply(c, sources, targets, kept, sums, limits),
            )  # fmt: skip

        self._loop(_constant(0), many, self.together, group)
        self._settle(past, writes)

    def _past(self, past: Any, writes: Some, at: Any, step: Any) -> Any:
        """Whether to write past the caches: only rows that share no line of them can.

        Of a line that is written in two parts, the second has to wait for memory.
        """
        builder = self.builder
        places = [builder.ptrtoint(builder.gep(p, [at]), _I64) for p in writes]
        places.append(builder.mul(step, _constant(self.itemsize)))
        for place in places:
            within = builder.and_(place, _constant(LINE - 1))
            past = builder.and_(past, builder.icmp_signed("==", within, _constant(0)))
        return past

    def _either(self, past: Any, writes: Some, emit: Callable[[bool], None]) -> None:
        """Code that writes to the caches, or past them."""
        if not writes:
            emit(False)
            return
        with self.builder.if_else(past, likely=False) as (direct, usual):
            with direct:
                emit(True)
            with usual:
                emit(False)

    def _settle(self, past: Any, writes: Some) -> None:
        """Wait for what was written past the caches: no other thread may come before it."""
        if writes:
            with self.builder.if_then(past, likely=False):
                self.builder.fence("seq_cst")

    def _apply(
        self, c: Any, sources: Sequence[Some], targets: Sequence[Some], known: Some, sums: Some,
        limits: Some | None = None, direct: bool = False, again: Any = None,
    ) -> None:  # fmt: skip
        """The formula on one vector of every row."""
        coefficients = [self._read(k, c) if self._is_memory(k) else k for k in known]
        # A sum of its own for these rows: sums of sums lose fewer digits than one long one.
        found: Some = [self.values.zero] * len(sums)
        for u, (source, target) in enumerate(zip(sources, targets, strict=True)):
            if limits is not None:
                limit = self.builder.sub(limits[u], c)
                found = self._some(c, source, target, coefficients, found, limit)
            else:
                found = self._one(
                    c, source, target, coefficients, found, direct=direct, again=again
                )
        for p, value in zip(sums, found, strict=True):
            self._write(p, c, self.values.add(self._read(p, c), value))

    def _some(
        self, c: Any, source: Some, target: Some, coefficients: Some, sums: Some, limit: Any
    ) -> Some:
        """The formula on a vector's first `limit` lanes, all of them, fewer or none.

        A mask is laid on those only that it cuts: on AVX2 it takes ten times a vector's time.
        """
        builder = self.builder
        whole = builder.icmp_signed(">=", limit, _constant(self.lanes))
        with builder.if_else(whole) as (all_lanes, some_lanes):
            with all_lanes:
                every, behind = self._one(c, source, target, coefficients, sums), builder.block
            with some_lanes:
                before = builder.block
                with builder.if_then(builder.icmp_signed(">", limit, _constant(0))):
                    cut = self._one(c, source, target, coefficients, sums, limit)
                    taken = builder.block
                cut = [merged(builder, *b) for b in _pairs(cut, taken, sums, before)]
                beside = builder.block
        return [merged(builder, *both) for both in _pairs(every, behind, cut, beside)]

    def _one(
        self, c: Any, source: Some, target: Some, coefficients: Some, sums: Some,
        limit: Any = None, direct: bool = False, again: Any = None,
    ) -> Some:  # fmt: skip
        """The formula on a vector, or on its first `limit` lanes; the new sums.

        Its first `again` lanes were taken before: they are written once more, and add nothing.
        """
        builder, align = self.builder, _I32(self.itemsize)
        # A lane that takes no part reads 0; of the first array the first coefficient
        # (the center, of which sums take the difference).
        others = [*coefficients[:1], *[self.values.zero] * len(source)]
        if limit is None:
            read = [self._read(p, c) for p in source]
            if again is not None and sums:
                mask = builder.not_(self._first_lanes(again))
                read = [
                    builder.select(mask, value, other)
                    for value, other in zip(read, others, strict=False)
                ]
        else:
            mask = self._first_lanes(limit)
            read = [
                builder.call(self._load, [self._place(p, c), align, mask, other])
                for p, other in zip(source, others, strict=False)
            ]
        written, found = self.formula(self.values, read, coefficients, sums)
        for p, value in zip(target, written, strict=True):
            if direct:
                self._write_past(p, c, value)
            elif limit is None:
                self._write(p, c, value)
            else:
                builder.call(self._store, [value, self._place(p, c), align, mask])
        return found

    def _place(self, pointer: Any, c: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [c]), self.vector.as_pointer())

    def _read(self, pointer: Any, c: Any) -> Any:
        return self.builder.load(self._place(pointer, c), align=self.itemsize)

    def _write(self, pointer: Any, c: Any, value: Any) -> None:
        self.builder.store(value, self._place(pointer, c), align=self.itemsize)

    def _write_past(self, pointer: Any, c: Any, value: Any) -> None:
        """A store that reads no cache line first, and leaves none."""
        store = self.builder.store(value, self._place(pointer, c), align=self.itemsize * self.lanes)
        store.set_metadata("nontemporal", self.builder.module.add_metadata([_I32(1)]))

    @staticmethod
    def _is_memory(value: Any) -> bool:
        return isinstance(value.type, ir.PointerType)

    def _loop(self, first: Any, end: Any, step: int, body: Callable[[Any], None]) -> None:
        builder = self.builder
        before = builder.block
        inside = builder.append_basic_block("inside")
        after = builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", first, end), inside, after)
        builder.position_at_end(inside)
        i = builder.phi(_I64)
        i.add_incoming(first, before)
        body(i)
        advanced = builder.add(i, _constant(step))
        i.add_incoming(advanced, builder.block)
        builder.cbranch(builder.icmp_signed("<", advanced, end), inside, after)
        builder.position_at_end(after)

    def _splat(self, number: Any) -> Any:
        if number.type != self.scalar:
            number = self.builder.fptrunc(number, self.scalar)
        return self._spread(number, self.vector)

    def _spread(self, number: Any, vector: Any) -> Any:
        undefined = ir.Constant(vector, ir.Undefined)
        single = self.builder.insert_element(undefined, number, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def _first_lanes(self, limit: Any) -> Any:
        """The mask of the lanes below a limit."""
        numbers = ir.VectorType(_I32, self.lanes)
        # A limit is a few elements of a row, or negative: 32 bits hold it.
        spread = self._spread(self.builder.trunc(limit, _I32), numbers)
        return self.builder.icmp_signed("<", ir.Constant(numbers, list(range(self.lanes))), spread)

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """An LLVM intrinsic; llvmlite's own declare_intrinsic takes no vectors."""
        module = self.builder.module
        if name in module.globals:
            return module.globals[name]
        return ir.Function(module, ir.FunctionType(result, arguments), name)


def _pairs(some: Some, block: Any, others: Some, beside: Any) -> list[Any]:
    """What two blocks left behind, one value of each at a time."""
    return [((a, block), (b, beside)) for a, b in zip(some, others, strict=True)]


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)
