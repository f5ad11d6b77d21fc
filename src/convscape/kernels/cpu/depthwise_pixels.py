"""Tiles of pixels: the code that depthwise convolution spends its time in.

A tile is a few output pixels of a line. For each kernel row a table holds the addresses of the
input columns that it meets, so a cell in the padding is the address of zeros: nothing is padded,
and no border is a special case.

    weigh:      out[t][c]    = clip(bias[c] + Σ_{r, s} weight[r, s][c] x[r, t step + s][c])
    correlate:  sums[r, s][c] += Σ_t given[t][c] x[r, t step + s][c]

Vectors run over channels. The accumulators (the gradients given, in `correlate`) of a tile stay in
registers, which LLVM would not manage by itself, so the loops are emitted as LLVM IR. A column is
read once for all the products that it takes part in: the CPU reads one vector a product at best,
and what does not lie in the nearest cache slower than that.

Source: pixels by address as in M. Dukhan, "The Indirect Convolution Algorithm", arXiv 1907.02129.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from convscape.kernels.cpu.depthwise_plan import Tile
from convscape.kernels.cpu.simd import SIMD, fused_multiply_add

_I64 = ir.IntType(64)


@intrinsic
def address(_context: Any, array: Any) -> Any:
    """Where the memory of an array begins."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, _I64)

    return types.intp(array), generate


def weigher(tiles: Sequence[Tile]) -> Callable[..., None]:
    """An intrinsic that computes tiles of output pixels.

    The intrinsic is `f(number, table, rows, outs, many, hop, out_hop, blocks, channel, channels,
    weights, first, step, bias, limits)`, for `many` tiles like tiles[number]. Column j of kernel
    row r of tile i is at address table[r columns + j] + i hop, its output t at outs[t] + i out_hop.
    Blocks (a vector's lanes of channels) begin at `channel`; block b has the weights
    weights[first + b step :], a vector a kernel cell; bias has a number a channel, and `limits` are
    the two bounds of results.
    """

    @intrinsic
    def weigh(
        _context: Any, number: Any, table: Any, rows: Any, outs: Any, many: Any, hop: Any,
        out_hop: Any, blocks: Any, channel: Any, channels: Any, weights: Any, first: Any,
        step: Any, bias: Any, limits: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(
            integer, table, integer, outs, *[integer] * 6, weights, integer, integer, bias,
            limits,
        )  # fmt: skip

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            code = _Code(context, builder, sig, args)
            low, high = (code.splat(builder.extract_value(args[14], i)) for i in range(2))

            def emit(tile: Tile, source: Any, other: Any, channel: Any, b: Any) -> None:
                own = code.load(builder.gep(code.data(13), [channel]))
                cells = builder.gep(
                    code.data(10), [builder.add(args[11], builder.mul(b, args[12]))]
                )

                def row(r: Any, totals: list[Any]) -> list[Any]:
                    totals = list(totals)
                    values = [code.load(pointer) for pointer in code.cells(cells, r, tile)]
                    for t, s, x in code.products(tile, r, source):
                        totals[t] = code.fma(values[s], x, totals[t])
                    return totals

                totals = code.reduce(args[2], [own] * tile.pixels, row)
                for t, total in enumerate(totals):
                    code.store(code.clip(total, low, high), code.pointer(code.data(3), t, other))

            code.walk(tiles, emit)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], weigh)


def correlator(tiles: Sequence[Tile]) -> Callable[..., None]:
    """An intrinsic that adds tiles of pixels to the weight gradient.

    The intrinsic is `f(number, table, rows, given, many, hop, given_hop, blocks, channel, channels,
    sums, first, step)`: as `weigher`'s, with the addresses of given pixels for `outs`, and sums in
    place of weights.
    """

    @intrinsic
    def correlate(
        _context: Any, number: Any, table: Any, rows: Any, given: Any, many: Any, hop: Any,
        given_hop: Any, blocks: Any, channel: Any, channels: Any, sums: Any, first: Any,
        step: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(
            integer, table, integer, given, *[integer] * 6, sums, integer, integer
        )

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            code = _Code(context, builder, sig, args)

            def emit(tile: Tile, source: Any, other: Any, _channel: Any, b: Any) -> None:
                values = [
                    code.load(code.pointer(code.data(3), t, other)) for t in range(tile.pixels)
                ]
                cells = builder.gep(
                    code.data(10), [builder.add(args[11], builder.mul(b, args[12]))]
                )

                def row(r: Any, _none: list[Any]) -> list[Any]:
                    vectors = code.cells(cells, r, tile)
                    totals = [code.load(pointer) for pointer in vectors]
                    for t, s, x in code.products(tile, r, source):
                        totals[s] = code.fma(values[t], x, totals[s])
                    for total, pointer in zip(totals, vectors, strict=True):
                        code.store(total, pointer)
                    return []

                code.reduce(args[2], [], row)

            code.walk(tiles, emit)
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], correlate)


class _Code:
    """Loops and vectors of one element type, as LLVM IR; an intrinsic's first ten arguments."""

    def __init__(self, context: Any, builder: Any, sig: Any, args: Any) -> None:
        self.builder = builder
        self._context, self._sig, self._args = context, sig, args
        self.itemsize = sig.args[10].dtype.bitwidth // 8
        self.scalar = ir.FloatType() if self.itemsize == 4 else ir.DoubleType()
        self.lanes = SIMD.lanes(self.itemsize)
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self._multiply_add = fused_multiply_add(builder.module, self.vector)

    def data(self, position: int) -> Any:
        """Where the array at this position of the arguments begins."""
        make = self._context.make_array(self._sig.args[position])
        return make(self._context, self.builder, self._args[position]).data

    def walk(self, tiles: Sequence[Tile], emit: Callable[..., None]) -> None:
        """All blocks of all tiles: `emit(tile, x offset, other offset, channel, block)`."""
        builder, args = self.builder, self._args
        beyond = builder.sub(args[9], self.constant(self.lanes))
        after = builder.append_basic_block("after")
        cases = [builder.append_basic_block("tile") for _ in tiles]
        choice = builder.switch(args[0], cases[0])
        for number, (tile, case) in enumerate(zip(tiles, cases, strict=True)):
            if number:
                choice.add_case(self.constant(number), case)
            builder.position_at_end(case)
            # Pixels outside, channels inside: memory is read as it lies.
            with self.loop(args[4]) as i, self.loop(args[7]) as b:
                # The last block is moved back inside: what it shares is computed twice.
                channel = builder.add(args[8], builder.mul(b, self.constant(self.lanes)))
                inside = builder.icmp_signed("<", channel, beyond)
                channel = builder.select(inside, channel, beyond)
                offset = builder.mul(channel, self.constant(self.itemsize))
                source = builder.add(offset, builder.mul(i, args[5]))
                other = builder.add(offset, builder.mul(i, args[6]))
                emit(tile, source, other, channel, b)
            builder.branch(after)
        builder.position_at_end(after)

    def cells(self, first: Any, row: Any, tile: Tile) -> list[Any]:
        """Where the vectors of a kernel row are, of those that begin at `first`."""
        at = self.builder.mul(row, self.constant(tile.width * self.lanes))
        place = self.builder.gep(first, [at])
        return [self.builder.gep(place, [self.constant(s * self.lanes)]) for s in range(tile.width)]

    def products(self, tile: Tile, row: Any, source: Any) -> Iterator[tuple[int, int, Any]]:
        """(output, kernel cell, the column that they share), column by column."""
        table = self.builder.gep(self.data(1), [self.builder.mul(row, self.constant(tile.columns))])
        for column in range(tile.columns):
            met = [divmod(column - s, tile.step) for s in range(tile.width)]
            pairs = [(t, s) for s, (t, off) in enumerate(met) if not off and 0 <= t < tile.pixels]
            if pairs:
                x = self.load(self.pointer(table, column, source))
                yield from ((t, s, x) for t, s in pairs)

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

    def splat(self, number: Any) -> Any:
        """A number in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        number = self.builder.fptrunc(number, self.scalar) if self.itemsize == 4 else number
        single = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(single, undefined, zeros)

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
