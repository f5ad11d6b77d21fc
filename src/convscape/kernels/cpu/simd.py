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
from numba.extending import intrinsic

ROWS = 6
"""Rows of the register tile."""


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


def register_tile(vectors: int, fresh: bool = False) -> Callable[..., None]:
    """An intrinsic for a tile of `ROWS` rows and this many vectors.

    The intrinsic is `f(a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer,
    count, tile, t_start)`: one-dimensional contiguous arrays a, b and tile of one floating dtype;
    int64 `rows`, of which `ROWS` are read from `first` on; and integers. `outer` (the range of o)
    and `count` (of k) are at least 1. The tile's rows are contiguous, one after the other; it is
    read, added to and written back; a `fresh` one starts at zero and is only written.
    """

    @intrinsic
    def multiply_add(
        _context: Any,
        a: Any,
        rows: Any,
        first: Any,
        shift: Any,
        a_jump: Any,
        a_step: Any,
        b: Any,
        start: Any,
        b_jump: Any,
        b_step: Any,
        outer: Any,
        count: Any,
        tile: Any,
        t_start: Any,
    ) -> Any:
        integer = types.intp
        signature = types.void(a, rows, *[integer] * 4, b, *[integer] * 5, tile, integer)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def data(position: int) -> Any:
                return context.make_array(sig.args[position])(context, builder, args[position]).data

            _emit(
                builder,
                vectors,
                fresh,
                SIMD.lanes(a.dtype.bitwidth // 8),
                ir.FloatType() if a.dtype == types.float32 else ir.DoubleType(),
                (data(0), data(1), *args[2:6]),
                (data(6), *args[7:10]),
                (args[10], args[11]),
                (data(12), args[13]),
            )
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], multiply_add)


def _emit(
    builder: Any,
    vectors: int,
    fresh: bool,
    lanes: int,
    scalar: Any,
    a_side: tuple[Any, ...],
    b_side: tuple[Any, ...],
    counts: tuple[Any, Any],
    tile_side: tuple[Any, ...],
) -> None:
    """Write the two loops: accumulators as phi nodes, one broadcast a row, then the products."""
    i64 = ir.IntType(64)
    vector = ir.VectorType(scalar, lanes)
    itemsize = 4 if isinstance(scalar, ir.FloatType) else 8
    a, rows, first, shift, a_jump, a_step = a_side
    b, start, b_jump, b_step = b_side
    outer, count = counts
    tile, t_start = tile_side
    fma = _fma(builder.module, vector, "f32" if itemsize == 4 else "f64", lanes)

    def constant(value: int) -> Any:
        return ir.Constant(i64, value)

    def vector_at(pointer: Any) -> Any:
        # Aligned to one element only: channel counts are arbitrary.
        return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=itemsize)

    def phis(values: list[Any], source: Any) -> list[Any]:
        nodes = []
        for value in values:
            node = builder.phi(value.type)
            node.add_incoming(value, source)
            nodes.append(node)
        return nodes

    def feed(nodes: list[Any], values: list[Any], source: Any) -> None:
        for node, value in zip(nodes, values, strict=True):
            node.add_incoming(value, source)

    def splat(element: Any) -> Any:
        undefined = ir.Constant(vector, ir.Undefined)
        single = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return builder.shuffle_vector(single, undefined, zeros)

    row_pointers = []
    for i in range(ROWS):
        row = builder.load(builder.gep(rows, [builder.add(first, constant(i))]))
        row_pointers.append(builder.gep(a, [builder.add(row, shift)]))
    cells = [
        builder.gep(tile, [builder.add(t_start, constant(i * lanes))])
        for i in range(ROWS * vectors)
    ]
    zeros = [ir.Constant(vector, [0.0] * lanes)] * len(cells)

    entry = builder.block
    over_o = builder.append_basic_block("over_o")
    over_k = builder.append_basic_block("over_k")
    next_o = builder.append_basic_block("next_o")
    done = builder.append_basic_block("done")
    builder.branch(over_o)

    builder.position_at_end(over_o)
    o, a_row, b_row, *sums_o = phis([constant(0), constant(0), start, *zeros], entry)
    builder.branch(over_k)

    builder.position_at_end(over_k)
    k, a_at, b_at, *sums = phis([constant(0), a_row, b_row, *sums_o], over_o)
    b_pointer = builder.gep(b, [b_at])
    b_vectors = [vector_at(builder.gep(b_pointer, [constant(j * lanes)])) for j in range(vectors)]
    products = []
    for i, pointer in enumerate(row_pointers):
        element = splat(builder.load(builder.gep(pointer, [a_at])))
        for j, b_vector in enumerate(b_vectors):
            products.append(builder.call(fma, [element, b_vector, sums[i * vectors + j]]))
    k_next = builder.add(k, constant(1))
    stepped = [k_next, builder.add(a_at, a_step), builder.add(b_at, b_step), *products]
    feed([k, a_at, b_at, *sums], stepped, over_k)
    builder.cbranch(builder.icmp_signed("<", k_next, count), over_k, next_o)

    builder.position_at_end(next_o)
    o_next = builder.add(o, constant(1))
    jumped = [o_next, builder.add(a_row, a_jump), builder.add(b_row, b_jump), *products]
    feed([o, a_row, b_row, *sums_o], jumped, next_o)
    builder.cbranch(builder.icmp_signed("<", o_next, outer), over_o, done)

    builder.position_at_end(done)
    for cell, product in zip(cells, products, strict=True):
        # A sum starts at zero and is added to what was there: sums of sums lose fewer digits
        # than one long one.
        total = product if fresh else builder.fadd(vector_at(cell), product)
        builder.store(total, builder.bitcast(cell, vector.as_pointer()), align=itemsize)


def _fma(module: Any, vector: Any, suffix: str, lanes: int) -> Any:
    """The vector fused multiply-add; llvmlite's own declare_intrinsic takes no vectors."""
    name = f"llvm.fma.v{lanes}{suffix}"
    if name in module.globals:
        return module.globals[name]
    return ir.Function(module, ir.FunctionType(vector, [vector] * 3), name)
