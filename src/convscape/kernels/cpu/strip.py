"""Formulas on a strip of vectors that walks over memory: what normalization is made of.

A strip is `WIDTH` vectors, `v_step` elements apart. It visits the places

    at + o o_step + k k_step + v v_step + lane,   o < outer, k < count, v < WIDTH,

reads arrays there, and writes an array or adds to sums. Coefficients and sums stay in registers all
the way, which LLVM would not manage by itself, so the loops are emitted as LLVM IR. Of vector v the
first `limits[v]` lanes take part; the others are neither read nor written, and add nothing.

With the lanes along channels, the walk goes down the rows of channels-last memory; with the lanes
along a run of one channel, it goes along the run; short runs are taken one a vector.

Sums are taken in the arrays' precision along one walk, and added to sums in float64 at its end. A
caller keeps walks short (`RUN` steps), so that only a few additions are rounded to float32.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import SIMD

WIDTH = SIMD.vectors
"""Vectors of a strip: with their coefficients and sums they fit in the registers."""

RUN = 32
"""Steps that a sum in float32 may be long."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class Values:
    """What a formula computes with: the operations of one vector (or element) type."""

    def __init__(self, builder: Any, vector: Any, fma: Any) -> None:
        self.builder = builder
        self.zero = ir.Constant(vector, [0.0] * vector.count)
        self._fma = fma

    def add(self, a: Any, b: Any) -> Any:
        """The sum a + b."""
        return self.builder.fadd(a, b)

    def less(self, a: Any, b: Any) -> Any:
        """The difference a - b."""
        return self.builder.fsub(a, b)

    def times(self, a: Any, b: Any) -> Any:
        """The product a b."""
        return self.builder.fmul(a, b)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """The sum a b + c, rounded once: the same bits wherever it is computed."""
        return self.builder.call(self._fma, [a, b, c])

    def where_positive(self, test: Any, value: Any) -> Any:
        """The value where test > 0 or test is NaN, else 0: what torch's ReLU lets through."""
        return self.builder.select(
            self.builder.fcmp_unordered(">", test, self.zero), value, self.zero
        )


Formula = Callable[[Values, Sequence[Any], Sequence[Any], Sequence[Any]], tuple[Any, Sequence[Any]]]
"""(operations, values read, coefficients, sums so far) -> (value to write or None, new sums)."""


def strip(
    formula: Formula, inputs: int, coefficients: Sequence[int], sums: int
) -> Callable[..., None]:
    """An intrinsic that walks a strip and applies a formula at each step.

    The intrinsic is `f(a, b, c, out, at, outer, o_step, count, k_step, v_step, limits, table,
    t_start, t_step, total, s_start, s_step)`. a, b, c and out are one-dimensional contiguous
    arrays of one floating dtype, of which the first `inputs` are read, and `out` is written if the
    formula gives a value. `limits` are `WIDTH` int64 lanes. Row r of the coefficients, `WIDTH`
    vectors, begins at table[t_start + r t_step]; row r of the sums, in float64, at
    total[s_start + r s_step].

    Args:
        formula: What is computed at each step.
        inputs: Arrays it reads.
        coefficients: Rows of the table it reads.
        sums: Sums it keeps.
    """

    @intrinsic
    def walk(
        _context: Any, a: Any, b: Any, c: Any, out: Any, at: Any, outer: Any, o_step: Any,
        count: Any, k_step: Any, v_step: Any, limits: Any, table: Any, t_start: Any, t_step: Any,
        total: Any, s_start: Any, s_step: Any,
    ) -> Any:  # fmt: skip
        i = types.intp
        signature = types.void(
            a, b, c, out, *[i] * 6, limits, table, i, i, total, i, i
        )  # fmt: skip

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def data(position: int) -> Any:
                return context.make_array(sig.args[position])(context, builder, args[position]).data

            emitter = _Emitter(
                builder, ir.FloatType() if a.dtype == types.float32 else ir.DoubleType()
            )
            emitter.walk(
                formula, [data(p) for p in range(inputs)], data(3), args[4:10], data(10),
                (data(11), *args[12:14], coefficients), (data(14), *args[15:17], sums),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], walk)


class _Emitter:
    """Writes the loops of one strip."""

    def __init__(self, builder: Any, scalar: Any) -> None:
        self.builder = builder
        self.scalar = scalar
        self.itemsize = 4 if isinstance(scalar, ir.FloatType) else 8
        self.lanes = SIMD.lanes(self.itemsize)
        self.vector = ir.VectorType(scalar, self.lanes)
        self.mask = ir.VectorType(ir.IntType(1), self.lanes)
        suffix = f"v{self.lanes}f{8 * self.itemsize}"
        pointer = self.vector.as_pointer()
        tail = [_I32, self.mask]
        void = ir.VoidType()
        self._load = self._declare(
            f"llvm.masked.load.{suffix}.p0", self.vector, [pointer, *tail, self.vector]
        )
        self._store = self._declare(
            f"llvm.masked.store.{suffix}.p0", void, [self.vector, pointer, *tail]
        )
        self._fma = self._declare(f"llvm.fma.{suffix}", self.vector, [self.vector] * 3)

    def walk(
        self, formula: Formula, inputs: list[Any], out: Any, steps: Any, limits: Any,
        coefficients: tuple[Any, ...], sums: tuple[Any, ...],
    ) -> None:  # fmt: skip
        builder = self.builder
        at, outer, o_step, count, k_step, v_step = steps
        values = Values(builder, self.vector, self._fma)
        masks = [
            self._first_lanes(builder.load(builder.gep(limits, [_constant(v)])))
            for v in range(WIDTH)
        ]
        table, t_start, t_step, rows = coefficients
        known = [
            [self._unmasked(table, self._place(t_start, t_step, row, v)) for row in rows]
            for v in range(WIDTH)
        ]
        total, s_start, s_step, many = sums
        zeros = [values.zero] * (WIDTH * many)

        entry = builder.block
        over_o, over_k, next_o, done = (
            builder.append_basic_block(name) for name in ("over_o", "over_k", "next_o", "done")
        )
        builder.branch(over_o)

        builder.position_at_end(over_o)
        o, o_at, *sums_o = _phis(builder, [_constant(0), at, *zeros], entry)
        builder.branch(over_k)

        builder.position_at_end(over_k)
        k, k_at, *sums_k = _phis(builder, [_constant(0), o_at, *sums_o], over_o)
        added: list[Any] = []
        result_free = many > 0
        place = k_at
        for v, mask in enumerate(masks):
            # A lane that takes no part reads 0, of the first array the first coefficient (the
            # center, of which sums take the difference): it adds nothing.
            others = [known[v][0], *[values.zero] * (len(inputs) - 1)]
            read = [
                self._masked(pointer, place, mask, other)
                for pointer, other in zip(inputs, others, strict=True)
            ]
            ahead = builder.add(place, _constant(WIDTH * self.lanes))
            for pointer in inputs if result_free else [*inputs, out]:
                self._fetch(pointer, ahead)
            result, new = formula(values, read, known[v], sums_k[v * many : (v + 1) * many])
            if result is not None:
                where = builder.bitcast(builder.gep(out, [place]), self.vector.as_pointer())
                builder.call(self._store, [result, where, _I32(self.itemsize), mask])
            added += new
            place = builder.add(place, v_step)
        k_next = builder.add(k, _constant(1))
        _feed([k, k_at, *sums_k], [k_next, builder.add(k_at, k_step), *added], over_k)
        builder.cbranch(builder.icmp_signed("<", k_next, count), over_k, next_o)

        builder.position_at_end(next_o)
        o_next = builder.add(o, _constant(1))
        _feed([o, o_at, *sums_o], [o_next, builder.add(o_at, o_step), *added], next_o)
        builder.cbranch(builder.icmp_signed("<", o_next, outer), over_o, done)

        builder.position_at_end(done)
        wide = ir.VectorType(ir.DoubleType(), self.lanes)
        for n, found in enumerate(added):
            v, row = divmod(n, many)
            cell = builder.gep(total, [self._place(s_start, s_step, row, v)])
            cell = builder.bitcast(cell, wide.as_pointer())
            longer = builder.fpext(found, wide) if self.itemsize == 4 else found
            builder.store(builder.fadd(builder.load(cell, align=8), longer), cell, align=8)

    def _place(self, start: Any, step: Any, row: int, v: int) -> Any:
        """Start + row step + v lanes."""
        along = self.builder.add(self.builder.mul(step, _constant(row)), _constant(v * self.lanes))
        return self.builder.add(start, along)

    def _unmasked(self, memory: Any, place: Any) -> Any:
        pointer = self.builder.bitcast(self.builder.gep(memory, [place]), self.vector.as_pointer())
        return self.builder.load(pointer, align=self.itemsize)

    def _masked(self, memory: Any, place: Any, mask: Any, other: Any) -> Any:
        # Aligned to one element only: channel counts are arbitrary.
        pointer = self.builder.bitcast(self.builder.gep(memory, [place]), self.vector.as_pointer())
        return self.builder.call(self._load, [pointer, _I32(self.itemsize), mask, other])

    def _fetch(self, memory: Any, place: Any) -> None:
        """Ask for a cache line that is needed later; any address will do."""
        byte = ir.IntType(8).as_pointer()
        prefetch = self._declare("llvm.prefetch.p0", ir.VoidType(), [byte, _I32, _I32, _I32])
        pointer = self.builder.bitcast(self.builder.gep(memory, [place]), byte)
        self.builder.call(prefetch, [pointer, _I32(0), _I32(3), _I32(1)])

    def _first_lanes(self, limit: Any) -> Any:
        """The mask of the lanes below a limit."""
        numbers = ir.VectorType(_I32, self.lanes)
        undefined = ir.Constant(numbers, ir.Undefined)
        single = self.builder.insert_element(undefined, self.builder.trunc(limit, _I32), _I32(0))
        bound = self.builder.shuffle_vector(
            single, undefined, ir.Constant(numbers, [0] * self.lanes)
        )
        return self.builder.icmp_signed("<", ir.Constant(numbers, list(range(self.lanes))), bound)

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """An LLVM intrinsic; llvmlite's own declare_intrinsic takes no vectors."""
        module = self.builder.module
        if name in module.globals:
            return module.globals[name]
        return ir.Function(module, ir.FunctionType(result, arguments), name)


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _phis(builder: Any, values: list[Any], source: Any) -> list[Any]:
    nodes = []
    for value in values:
        node = builder.phi(value.type)
        node.add_incoming(value, source)
        nodes.append(node)
    return nodes


def _feed(nodes: list[Any], values: list[Any], source: Any) -> None:
    for node, value in zip(nodes, values, strict=True):
        node.add_incoming(value, source)
