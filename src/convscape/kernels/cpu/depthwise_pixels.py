"""Tiles of pixels by address: the code that depthwise convolution spends its time in.

A tile is a few output pixels; for each of them and each kernel cell a table holds the address of
the input pixel they meet. So one piece of code serves every kernel, stride and dilation, and a
cell in the padding is the address of zeros: nothing is padded, and no border is a special case.

    weigh:      out[t][c]  = clip(bias[c] + Σ_k weight[k][c] x[k, t][c])
    correlate:  sums[k][c] += Σ_t given[t][c] x[k, t][c]

Vectors run over channels. The accumulators (the gradients given, in `correlate`) of a tile stay in
registers, which LLVM would not manage by itself, so the loops are emitted as LLVM IR.

Source: pixels by address as in M. Dukhan, "The Indirect Convolution Algorithm", arXiv 1907.02129.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import SIMD, fused_multiply_add

_I64 = ir.IntType(64)


@intrinsic
def address(_context: Any, array: Any) -> Any:
    """Where the memory of an array begins."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, _I64)

    return types.intp(array), generate


def weigher(pixels: int) -> Callable[..., None]:
    """An intrinsic that computes tiles of this many output pixels.

    The intrinsic is `f(table, taps, outs, tiles, hop, out_hop, weights, first, bias, step,
    blocks, channels, fetch, ahead, out_ahead)`. Input pixel (k, t) of tile i is at address
    table[k pixels + t] + i hop, its output at outs[t] + i out_hop. The cache is asked for what lies
    `ahead` of the last `fetch` kernel cells, and `out_ahead` of the outputs. Block b (a vector's
    lanes of channels) has the weights weights[first + b step :], a vector a kernel cell, and its
    bias, lower and upper bound from `bias` elements after the first on.
    """
    return _intrinsic(_weigh, pixels)


def correlator(pixels: int) -> Callable[..., None]:
    """An intrinsic that adds tiles of this many pixels to the weight gradient.

    The arguments are those of `weigher`, with the addresses of given pixels for `outs`, and sums
    in place of weights.
    """
    return _intrinsic(_correlate, pixels)


def _intrinsic(emit: Callable[..., None], pixels: int) -> Callable[..., None]:
    @intrinsic
    def tiles_of_pixels(
        _context: Any, table: Any, taps: Any, others: Any, tiles: Any, hop: Any, other_hop: Any,
        cells: Any, first: Any, bias: Any, step: Any, blocks: Any, channels: Any,
        fetch: Any, ahead: Any, other_ahead: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(
            table, integer, others, integer, integer, integer, cells, *[integer] * 8
        )

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def data(position: int) -> Any:
                return context.make_array(sig.args[position])(context, builder, args[position]).data

            code = _Code(builder, cells.dtype.bitwidth // 8)
            start = builder.gep(data(6), [args[7]])
            beyond = builder.sub(args[11], code.constant(code.lanes))
            with code.loop(args[10]) as b, code.loop(args[3]) as tile:
                # The last block is moved back inside: what it shares is computed twice.
                channel = builder.mul(b, code.constant(code.lanes))
                inside = builder.icmp_signed("<", channel, beyond)
                channel = builder.select(inside, channel, beyond)
                offset = builder.mul(channel, code.constant(code.itemsize))
                row = builder.gep(start, [builder.mul(b, args[9])])
                source = builder.add(offset, builder.mul(tile, args[4]))
                other = builder.add(offset, builder.mul(tile, args[5]))
                far = builder.add(source, args[13]), builder.add(other, args[14])
                last = code.row(data(0), builder.sub(args[1], args[12]), pixels)
                with code.loop(args[12]) as k:
                    for t in range(pixels):
                        code.prefetch(code.row(last, k, pixels), t, far[0])
                for t in range(pixels):
                    code.prefetch(data(2), t, far[1])
                emit(code, pixels, data(0), args[1], source, data(2), other, row, args[8])
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], tiles_of_pixels)


def _weigh(
    code: "_Code", pixels: int, table: Any, taps: Any, source: Any, outs: Any, offset: Any,
    weights: Any, bias_at: Any,
) -> None:  # fmt: skip
    beside = code.builder.gep(weights, [bias_at])
    bias, low, high = (code.load(code.row(beside, code.constant(i), code.lanes)) for i in range(3))

    def tap(k: Any, totals: list[Any]) -> list[Any]:
        weight = code.load(code.row(weights, k, code.lanes))
        addresses = code.row(table, k, pixels)
        return [
            code.fma(weight, code.load_from(addresses, t, source), total)
            for t, total in enumerate(totals)
        ]

    for t, total in enumerate(code.reduce(taps, [bias] * pixels, tap)):
        code.store(code.clip(total, low, high), code.pointer(outs, t, offset))


def _correlate(
    code: "_Code", pixels: int, table: Any, taps: Any, source: Any, given: Any, offset: Any,
    sums: Any, _bias: Any,
) -> None:  # fmt: skip
    values = [code.load_from(given, t, offset) for t in range(pixels)]

    def tap(k: Any, _none: list[Any]) -> list[Any]:
        addresses, cell = code.row(table, k, pixels), code.row(sums, k, code.lanes)
        total = code.load(cell)
        for t, value in enumerate(values):
            total = code.fma(value, code.load_from(addresses, t, source), total)
        code.store(total, cell)
        return []

    code.reduce(taps, [], tap)


class _Code:
    """Loops and vectors of one element type, as LLVM IR."""

    def __init__(self, builder: Any, itemsize: int) -> None:
        scalar = ir.FloatType() if itemsize == 4 else ir.DoubleType()
        self.builder = builder
        self.itemsize = itemsize
        self.lanes = SIMD.lanes(itemsize)
        self.vector = ir.VectorType(scalar, self.lanes)
        self._multiply_add = fused_multiply_add(builder.module, self.vector)

    def constant(self, value: int) -> Any:
        return ir.Constant(_I64, value)

    def fma(self, a: Any, b: Any, total: Any) -> Any:
        return self.builder.call(self._multiply_add, [a, b, total])

    def clip(self, value: Any, low: Any, high: Any) -> Any:
        """The value, or the nearer bound; NaN stays."""
        builder = self.builder
        value = builder.select(builder.fcmp_ordered(">", low, value), low, value)
        return builder.select(builder.fcmp_ordered("<", high, value), high, value)

    def load(self, pointer: Any) -> Any:
        # Aligned to one element only: channel counts are arbitrary.
        return self.builder.load(self._as_vector(pointer), align=self.itemsize)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self._as_vector(pointer), align=self.itemsize)

    def pointer(self, table: Any, i: int, offset: Any) -> Any:
        """The vector at address table[i] + offset."""
        entry = self.builder.load(self.builder.gep(table, [self.constant(i)]))
        return self.builder.inttoptr(self.builder.add(entry, offset), self.vector.as_pointer())

    def load_from(self, table: Any, i: int, offset: Any) -> Any:
        return self.load(self.pointer(table, i, offset))

    def prefetch(self, table: Any, i: int, offset: Any) -> None:
        """Ask for the cache line at address table[i] + offset."""
        byte = ir.IntType(8).as_pointer()
        module, name = self.builder.module, "llvm.prefetch.p0"
        if name not in module.globals:
            flag = ir.IntType(32)
            ir.Function(module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]), name)
        place = self.builder.bitcast(self.pointer(table, i, offset), byte)
        # To be read, into the nearest cache, as data.
        hints = [ir.Constant(ir.IntType(32), v) for v in (0, 3, 1)]
        self.builder.call(module.globals[name], [place, *hints])

    def row(self, data: Any, i: Any, length: int) -> Any:
        return self.builder.gep(data, [self.builder.mul(i, self.constant(length))])

    def loop(self, count: Any) -> "_Loop":
        """A loop over range(count), as a context."""
        return _Loop(self.builder, count, [])

    def reduce(
        self, count: Any, start: list[Any], step: Callable[[Any, list[Any]], list[Any]]
    ) -> list[Any]:
        """The values after `step(i, values)` for each i of range(count)."""
        loop = _Loop(self.builder, count, start)
        with loop as i:
            loop.give(step(i, loop.values))
        return loop.values

    def _as_vector(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.vector.as_pointer())


class _Loop:
    """`for i in range(count)` around the code emitted inside, with values carried along."""

    def __init__(self, builder: Any, count: Any, start: list[Any]) -> None:
        self._builder = builder
        self._count = count
        self._start = start
        self._given: list[Any] = []
        self.values: list[Any] = []

    def __enter__(self) -> Any:
        builder = self._builder
        before = builder.block
        self._head = builder.append_basic_block("head")
        body = builder.append_basic_block("body")
        self._after = builder.append_basic_block("after")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self._i, *self.values = [builder.phi(t) for t in (_I64, *[v.type for v in self._start])]
        for node, value in zip(
            (self._i, *self.values), (ir.Constant(_I64, 0), *self._start), strict=True
        ):
            node.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", self._i, self._count), body, self._after)
        builder.position_at_end(body)
        return self._i

    def give(self, values: list[Any]) -> None:
        """What the carried values are in the next round."""
        self._given = values

    def __exit__(self, *_: object) -> None:
        builder = self._builder
        following = builder.add(self._i, ir.Constant(_I64, 1))
        for node, value in zip((self._i, *self.values), (following, *self._given), strict=True):
            node.add_incoming(value, builder.block)
        builder.branch(self._head)
        builder.position_at_end(self._after)
