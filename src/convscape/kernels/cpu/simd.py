"""The register tile: the one piece of code that convolutions spend their time in.

    tile[i, j] += Σ_{o, k} a[rows[i] + shift + o a_jump + k a_step]
                         b[start + o b_jump + k b_step + j]

for `ROWS` rows i and a block of columns j, several vectors wide. Each step broadcasts one element
of every row and multiplies it with the vectors of b. The accumulators stay in registers for the
whole sum, which LLVM would not manage by itself, so the loop is emitted as LLVM IR.

The rows are *addresses*, not a packed panel: a convolution's patch matrix is never built. Forward,
a row is an output pixel, o runs over a row of the kernel and k over channels; in the weight
gradient a row is one channel of one kernel cell, o runs over rows of pixels and k along them.

The shape fits the register file: 6 rows of 4 vectors are 24 accumulators where there are 32
registers (AVX-512, NEON), 6 rows of 2 are 12 where there are 16 (AVX2), with room for the vectors
of b and a broadcast. Source: K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix
Multiplication", ACM TOMS 34(3), 2008; rows by address as in M. Dukhan, "The Indirect Convolution
Algorithm", arXiv 1907.02129.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from convscape.kernels.cpu.fetch import prefetch
from convscape.kernels.cpu.memory import LINE

ROWS = 6
"""Rows of the register tile."""

_NEAR = 2 << 10  # bytes of b ahead that the nearest cache is asked for
_FAR = 8 << 10  # the same of the next cache


@dataclass(frozen=True, slots=True)
class Simd:
    """What the CPU's vector unit offers.

    Args:
        bits: Width of a vector register.
        vectors: Vectors of b in the widest tile.
    """

    bits: int
    vectors: int

    def lanes(self, itemsize: int) -> int:
        """Elements of this many bytes in one vector."""
        return self.bits // 8 // itemsize


def detect() -> Simd:
    """The host CPU's vector width and register count, as LLVM reports its features."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return Simd(bits=512, vectors=4)
    if features.get("avx2") and features.get("fma"):
        return Simd(bits=256, vectors=2)
    # NEON has 32 registers of 128 bits; plain SSE has 16 and emulates the fused multiply-add.
    return Simd(bits=128, vectors=4 if features.get("neon") else 2)


SIMD = detect()


def register_tile(
    vectors: int, fresh: bool = False, rows: int = ROWS, asks: bool = False
) -> Callable[..., None]:
    """An intrinsic for a tile of `ROWS` rows, or fewer, and this many vectors.

    The intrinsic is `f(a, table, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer,
    count, tile, t_start)`: one-dimensional contiguous arrays a, b and tile of one floating dtype;
    int64 `table`, of which `rows` are read from `first` on; and integers. `outer` (the range of o)
    and `count` (of k) are at least 1. The tile's rows are contiguous, one after the other; it is
    read, added to and written back; a `fresh` one starts at zero and is only written. With `asks`
    the vectors of b that later steps read are asked for, as pays where few rows read each.
    """

    @intrinsic
    def multiply_add(
        _context: Any, a: Any, table: Any, first: Any, shift: Any, a_jump: Any, a_step: Any, b: Any,
        start: Any, b_jump: Any, b_step: Any, outer: Any, count: Any, tile: Any, t_start: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(a, table, *[integer] * 4, b, *[integer] * 5, tile, integer)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            code = Code(context, builder, sig, args)
            sums = code.sums(vectors, rows=rows, asks=asks)
            cells = code.cells(12, 13, rows * vectors)
            for cell, total in zip(cells, sums, strict=True):
                # A sum starts at zero and is added to what was there: sums of sums lose fewer
                # digits than one long one.
                code.store(total if fresh else builder.fadd(code.vector_at(cell), total), cell)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], multiply_add)


class Code:
    """Writes the loops of the register tile for an intrinsic that begins with its arguments."""

    def __init__(self, context: Any, builder: Any, sig: Any, args: Any) -> None:
        self.context, self.builder, self.sig, self.args = context, builder, sig, args
        single = sig.args[0].dtype == types.float32
        self.itemsize = 4 if single else 8
        self.lanes = SIMD.lanes(self.itemsize)
        self.vector = ir.VectorType(ir.FloatType() if single else ir.DoubleType(), self.lanes)
        self.fma = fused_multiply_add(builder.module, self.vector)

    def function(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """A function of LLVM's, declared once a module."""
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def data(self, position: int) -> Any:
        """Where the array at this position of the arguments begins."""
        make = self.context.make_array(self.sig.args[position])
        return make(self.context, self.builder, self.args[position]).data

    def vector_at(self, pointer: Any) -> Any:
        """A vector from memory; aligned to one element only: channel counts are arbitrary."""
        address = self.builder.bitcast(pointer, self.vector.as_pointer())
        return self.builder.load(address, align=self.itemsize)

    def store(self, value: Any, pointer: Any) -> None:
        """A vector to memory."""
        address = self.builder.bitcast(pointer, self.vector.as_pointer())
        self.builder.store(value, address, align=self.itemsize)

    def splat(self, element: Any) -> Any:
        """A number in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = self.builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def cells(self, array: int, start: int, count: int) -> list[Any]:
        """Where `count` vectors lie one after the other, from args[start] of an array on."""
        first = self.builder.gep(self.data(array), [self.args[start]])
        return [self.builder.gep(first, [word(i * self.lanes)]) for i in range(count)]

    def rows(self, array: int, table: int, first: int, shift: int, count: int = ROWS) -> list[Any]:
        """`count` addresses in an array: table[first + i] + shift."""
        builder, memory, addresses = self.builder, self.data(array), self.data(table)
        pointers = []
        for i in range(count):
            at = builder.gep(addresses, [builder.add(self.args[first], word(i))])
            pointers.append(builder.gep(memory, [builder.add(builder.load(at), self.args[shift])]))
        return pointers

    def sums(
        self, vectors: int, begin: list[Any] | None = None, rows: int = ROWS, asks: bool = False
    ) -> list[Any]:
        """Both loops: accumulators as phi nodes, one broadcast a row, then the products.

        Sums begin at zero, or at `begin`, a vector each. With one vector a row they are too few to
        keep the multipliers busy: each has a second accumulator then, and k is taken in pairs.
        """
        builder, many = self.builder, rows * vectors
        row_pointers = self.rows(0, 1, 2, 3, rows)
        a_jump, a_step = self.args[4:6]
        b, (start, b_jump, b_step, outer, count) = self.data(6), self.args[7:12]
        zeros = [ir.Constant(self.vector, [0.0] * self.lanes)] * many
        pairs = vectors == 1
        turn = 2 if pairs else 1

        def products(a_at: Any, b_at: Any, sums: list[Any]) -> list[Any]:
            b_row = builder.gep(b, [b_at])
            if asks:
                self.ask_ahead(b_row, b_step, vectors, rows)
            return self.step(row_pointers, a_at, b_row, vectors, sums)

        entry = builder.block
        over_o, over_k, left, next_o, done = (
            builder.append_basic_block(n) for n in ("over_o", "over_k", "left", "next_o", "done")
        )
        builder.branch(over_o)

        builder.position_at_end(over_o)
        begun = [*(begin or zeros), *zeros * (turn - 1)]
        o, a_row, b_row, *sums_o = self.phis([word(0), word(0), start, *begun], entry)
        if pairs:
            builder.cbranch(builder.icmp_signed(">=", count, word(turn)), over_k, left)
        else:
            builder.branch(over_k)

        builder.position_at_end(over_k)
        carried = self.phis([word(0), a_row, b_row, *sums_o], over_o)
        k, a_at, b_at, *sums = carried
        added: list[Any] = []
        for i in range(turn):
            added += products(a_at, b_at, sums[i * many : (i + 1) * many])
            a_at, b_at = builder.add(a_at, a_step), builder.add(b_at, b_step)
        k_next = builder.add(k, word(turn))
        self.feed(carried, [k_next, a_at, b_at, *added], over_k)
        reached = builder.add(k_next, word(turn - 1))
        builder.cbranch(builder.icmp_signed("<", reached, count), over_k, left)

        builder.position_at_end(left)
        if pairs:
            last = self.phis([a_row, b_row, *sums_o], over_o)
            self.feed(last, [a_at, b_at, *added], over_k)
            odd = builder.trunc(count, ir.IntType(1))
            with builder.if_then(odd):
                one = products(last[0], last[1], last[2 : 2 + many])
                taken = builder.block
            added = self.phis(last[2 : 2 + many], left) + last[2 + many :]
            self.feed(added[:many], one, taken)
        builder.branch(next_o)

        builder.position_at_end(next_o)
        o_next = builder.add(o, word(1))
        jumped = [o_next, builder.add(a_row, a_jump), builder.add(b_row, b_jump), *added]
        self.feed([o, a_row, b_row, *sums_o], jumped, next_o)
        builder.cbranch(builder.icmp_signed("<", o_next, outer), over_o, done)

        builder.position_at_end(done)
        if pairs:
            return [builder.fadd(*both) for both in zip(added[:many], added[many:], strict=True)]
        return added

    def step(
        self, rows: list[Any], a_at: Any, b_row: Any, vectors: int, sums: list[Any]
    ) -> list[Any]:  # fmt: skip
        """The sums, and one product more in each: one broadcast a row, the vectors from b_row."""
        builder = self.builder
        b_vectors = [
            self.vector_at(builder.gep(b_row, [word(j * self.lanes)])) for j in range(vectors)
        ]
        products = []
        for i, pointer in enumerate(rows):
            element = self.splat(builder.load(builder.gep(pointer, [a_at])))
            for j, b_vector in enumerate(b_vectors):
                products.append(builder.call(self.fma, [element, b_vector, sums[i * vectors + j]]))
        return products

    def ask_ahead(self, b_row: Any, b_step: Any, vectors: int, rows: int) -> None:
        """Ask for vectors of b that will be read some steps from here.

        The hardware's own prefetching does not keep the memory busy. Six rows take so long for a
        step that what the nearest cache is asked for would be gone from it, or come too late.
        """
        builder, size = self.builder, vectors * self.lanes * self.itemsize
        for distance, nearness in ((_NEAR, 3), (_FAR, 2)) if rows < ROWS else ((_FAR, 2),):
            ahead = builder.gep(b_row, [builder.mul(b_step, word(distance // size))])
            for i in range(0, size // self.itemsize, LINE // self.itemsize):
                prefetch(builder, builder.gep(ahead, [word(i)]), nearness)

    def phis(self, values: list[Any], source: Any) -> list[Any]:
        """What a loop carries on, as it is before the loop."""
        nodes = []
        for value in values:
            node = self.builder.phi(value.type)
            node.add_incoming(value, source)
            nodes.append(node)
        return nodes

    def feed(self, nodes: list[Any], values: list[Any], source: Any) -> None:
        """What a loop carries on, as a turn leaves it."""
        for node, value in zip(nodes, values, strict=True):
            node.add_incoming(value, source)


def fused_multiply_add(module: Any, vector: Any) -> Any:
    """LLVM's a b + c, rounded once; llvmlite's own declare_intrinsic takes no vectors."""
    bits = 32 if isinstance(vector.element, ir.FloatType) else 64
    kind = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(module, kind, f"llvm.fma.v{vector.count}f{bits}")


def word(value: int) -> Any:
    """A number as emitted code counts: 64 bits."""
    return ir.Constant(ir.IntType(64), value)
