"""Pooling's inner loops: some vectors of neighbouring results, over all kernel cells, in registers.

    result[v, l] = combine over i < rows, j < columns of
        source[at + i row_step + j column_step + v jump + lane + j lane_step + l step]

In channels-last memory the lanes l are channels (lane_step 0, step 1) and the vectors v follow each
other; in plain memory the lanes are neighbours of a line (lane_step the dilation, step the stride)
and the vectors are the same line of several planes. `whole` vectors read and write all their lanes;
others mask those whose index lane + j lane_step + l step is not in [0, limit), which is where
padding and the ends of lines are. Each result is written once. Emitted as LLVM IR, because LLVM
would neither keep the results in registers nor take the masks by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

from llvmlite import ir
from numba import types

from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.simd_ends import merged, store_first

_I32, _I64 = ir.IntType(32), ir.IntType(64)
INTEGER = types.intp
TAPS = types.UniTuple(types.intp, 9)
"""(rows, columns, at, row_step, column_step, lane, lane_step, limit, jump)."""
NUMBERS = types.UniTuple(types.intp, 3)
"""(number of the first kernel cell, row step, column step)."""
TARGET = types.UniTuple(types.intp, 4)
"""(at, lane, limit, jump) of what is written."""


VECTORS = 4 if SIMD.bits == 512 else 2
"""Vectors that are computed together where there are so many, and registers to hold them."""


@dataclass(frozen=True)
class Shape:
    """What one emitted loop is made for.

    Args:
        vectors: Vectors computed together.
        step: Distance of neighbouring lanes in the source: 1, 2, or 0 for one given at run time.
        whole: Whether all lanes are read and written; else they are masked.
    """

    vectors: int
    step: int
    whole: bool


class Memory:
    """An array that vectors are loaded from and stored to."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        array = context.make_array(kind)(context, builder, value)
        self.data, self.count = array.data, builder.extract_value(array.shape, 0)
        self.element = context.get_data_type(kind.dtype)
        self.vector = ir.VectorType(self.element, lanes)
        self.bytes = kind.dtype.bitwidth // 8

    def load(self, at: Any, mask: Any = None, fill: Any = None) -> Any:
        """The vector at an element; `fill` where the mask is off.

        What is masked may lie outside the array. On AVX2 a masked load takes six times as long as
        another (of bytes there is none), so where all of the vector lies inside it is read whole.
        """
        builder = self.builder
        if mask is None:
            return builder.load(self._pointer(at), align=self.bytes)
        if SIMD.bits == 512:
            return self._load_masked(at, mask, fill)
        last = builder.sub(self.count, self.count.type(self.lanes))
        lies = builder.and_(
            builder.icmp_signed(">=", at, at.type(0)), builder.icmp_signed("<=", at, last)
        )
        with builder.if_else(lies, likely=True) as (within, beyond):
            with within:
                whole = builder.select(mask, self.load(at), fill)
                read = builder.block
            with beyond:
                some = self._load_masked(at, mask, fill)
                masked = builder.block
        return merged(builder, (whole, read), (some, masked))

    def _load_masked(self, at: Any, mask: Any, fill: Any) -> Any:
        pointer = self._pointer(at)
        given = [pointer.type, _I32, mask.type, self.vector]
        function = self._intrinsic("load", self.vector, given, "p0")
        return self.builder.call(function, [pointer, ir.Constant(_I32, self.bytes), mask, fill])

    def store(self, value: Any, at: Any, mask: Any = None) -> None:
        """Write a vector at an element, where the mask is on."""
        pointer = self._pointer(at)
        if mask is None:
            self.builder.store(value, pointer, align=self.bytes)
            return
        given = [self.vector, pointer.type, _I32, mask.type]
        function = self._intrinsic("store", ir.VoidType(), given, "p0")
        self.builder.call(function, [value, pointer, ir.Constant(_I32, self.bytes), mask])

    def store_first(self, value: Any, at: Any, count: Any) -> None:
        """Write the first lanes of a vector, as many as `count` says: all, fewer or none."""
        builder = self.builder
        if SIMD.bits == 512:
            # Signed: the count is negative where a line has ended before.
            first = splat(builder, builder.trunc(count, _I32), self.lanes)
            self.store(value, at, builder.icmp_signed("<", _counting(self.lanes, _I32), first))
        else:
            store_first(builder, value, builder.gep(self.data, [at]), count, self.bytes)

    def gather(self, indices: Any, mask: Any, fill: Any) -> Any:
        """The elements at these indices; `fill` where the mask is off."""
        start = splat(self.builder, self.builder.ptrtoint(self.data, _I64), self.lanes)
        size = ir.Constant(indices.type, [self.bytes] * self.lanes)
        addresses = self.builder.add(start, self.builder.mul(indices, size))
        many = ir.VectorType(self.element.as_pointer(), self.lanes)
        pointers = self.builder.inttoptr(addresses, many)
        given = [many, _I32, mask.type, self.vector]
        function = self._intrinsic("gather", self.vector, given, f"v{self.lanes}p0")
        return self.builder.call(function, [pointers, ir.Constant(_I32, self.bytes), mask, fill])

    def sum_lanes(self, value: Any) -> Any:
        """The sum of a vector's lanes, in halves, so that no addition waits for all others."""
        kind = ir.FunctionType(self.element, [self.element, self.vector])
        full = f"llvm.vector.reduce.fadd.v{self.lanes}f{8 * self.bytes}"
        module = self.builder.module
        function = module.globals.get(full) or ir.Function(module, kind, full)
        return self.builder.call(function, [self.element(0.0), value], fastmath=("reassoc",))

    def _pointer(self, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(self.data, [at]), self.vector.as_pointer())

    def _intrinsic(self, name: str, result: Any, given: Sequence[Any], where: str) -> Any:
        letter = "i" if isinstance(self.element, ir.IntType) else "f"
        full = f"llvm.masked.{name}.v{self.lanes}{letter}{8 * self.bytes}.{where}"
        module = self.builder.module
        return module.globals.get(full) or ir.Function(module, ir.FunctionType(result, given), full)


class Reader:
    """Loads the vectors of one kernel cell."""

    def __init__(self, memory: Memory, shape: Shape, taps: "Taps", far: Any, fill: float) -> None:
        self.memory, self.shape, self.taps, self.far = memory, shape, taps, far
        self.fill = constant(memory, fill)

    def __call__(self, at: Any, lane: Any) -> list[Any]:
        """One vector from each plane or block of channels; `fill` outside the limit."""
        builder, lanes = self.memory.builder, self.memory.lanes
        starts = _places(builder, at, self.taps.jump, self.shape.vectors)
        if self.shape.step == 0:
            steps = builder.mul(_counting(lanes, _I64), splat(builder, self.far, lanes))
            index = builder.add(steps, splat(builder, lane, lanes))
            mask = builder.icmp_unsigned("<", index, splat(builder, self.taps.limit, lanes))
            return [
                self.memory.gather(
                    builder.add(index, splat(builder, start, lanes)), mask, self.fill
                )
                for start in starts
            ]
        first = self._contiguous(starts, lane)
        if self.shape.step == 1:
            return first
        # Every second of 2 lanes - 1 elements: the last one is not read, it may lie outside.
        second = self._contiguous(starts, builder.add(lane, ir.Constant(_I64, lanes - 1)))
        half = lanes // 2
        order = [2 * i for i in range(half)] + [lanes + 2 * i + 1 for i in range(half)]
        even = ir.Constant(ir.VectorType(_I32, lanes), order)
        return [builder.shuffle_vector(a, b, even) for a, b in zip(first, second, strict=True)]

    def _contiguous(self, starts: Sequence[Any], lane: Any) -> list[Any]:
        builder, memory = self.memory.builder, self.memory
        mask = None
        if not self.shape.whole:
            mask = inside(builder, lane, self.taps.limit, memory.lanes)
        return [memory.load(builder.add(start, lane), mask, self.fill) for start in starts]


class Taps:
    """The integers of `TAPS`."""

    def __init__(self, builder: Any, pack: Any) -> None:
        self.rows, self.columns, *steps, self.limit, self.jump = parts(builder, pack)
        at, row_step, column_step, lane, lane_step = steps
        self.walks = [(at, row_step, column_step), (lane, ir.Constant(_I64, 0), lane_step)]


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """A vector of one value."""
    empty = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(empty, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def inside(builder: Any, lane: Any, limit: Any, lanes: int) -> Any:
    """Which of the indices lane, lane + 1, ... lie in [0, limit)."""
    first, last = (splat(builder, builder.trunc(v, _I32), lanes) for v in (lane, limit))
    return builder.icmp_unsigned("<", builder.add(first, _counting(lanes, _I32)), last)


def from_bits(builder: Any, word: Any, lanes: int) -> Any:
    """The lanes whose bits are set in an integer."""
    if SIMD.bits == 512:
        flags = ir.VectorType(ir.IntType(1), lanes)
        return builder.bitcast(builder.trunc(word, ir.IntType(lanes)), flags)
    # LLVM would insert lane by lane.
    powers = ir.Constant(ir.VectorType(word.type, lanes), [1 << lane for lane in range(lanes)])
    return builder.icmp_signed("==", builder.and_(splat(builder, word, lanes), powers), powers)


class Flags:
    """A bit for each lane, as it is carried round a loop.

    AVX-512 has registers for bits. Elsewhere a flag fills a lane, which is what comparisons give:
    LLVM would narrow bits in every turn.
    """

    def __init__(self, memory: Memory) -> None:
        self.builder = memory.builder
        bits = 1 if SIMD.bits == 512 else 8 * memory.bytes
        self.type = ir.VectorType(ir.IntType(bits), memory.lanes)
        self.on = ir.Constant(self.type, [-1] * memory.lanes)

    def both(self, flags: Any, mask: Any) -> Any:
        """Those that are also in a comparison's result."""
        same = mask.type == self.type
        return self.builder.and_(flags, mask if same else self.builder.sext(mask, self.type))

    def mask(self, flags: Any) -> Any:
        """As a comparison's result."""
        if flags.type.element.width == 1:
            return flags
        return self.builder.icmp_signed("!=", flags, ir.Constant(self.type, [0] * self.type.count))


def _counting(lanes: int, kind: Any) -> Any:
    return ir.Constant(ir.VectorType(kind, lanes), list(range(lanes)))


def constant(memory: Memory, value: Any) -> Any:
    """A vector of a number known now."""
    integer = isinstance(memory.element, ir.IntType)
    return ir.Constant(memory.vector, [int(value) if integer else float(value)] * memory.lanes)


def nest(
    builder: Any, taps: Taps, results: Sequence[Any], body: Callable[..., Sequence[Any]]
) -> Sequence[Any]:
    """Two nested loops; the walks are integers (start, row step, column step) that go along."""
    rows, columns, walks = taps.rows, taps.columns, taps.walks
    zero, one = ir.Constant(_I64, 0), ir.Constant(_I64, 1)

    def loop(count: Any, start: Sequence[Any], inner: Callable[..., Sequence[Any]]) -> Any:
        before = builder.block
        head, inside, after = (builder.append_basic_block(n) for n in ("head", "inside", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(value.type) for value in (zero, *start)]
        for phi, value in zip(phis, (zero, *start), strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", phis[0], count), inside, after)
        builder.position_at_end(inside)
        following = [_opaque(builder, builder.add(phis[0], one)), *inner(*phis[1:])]
        for phi, value in zip(phis, following, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return phis[1:]

    many = len(walks)

    def column(*values: Any) -> Sequence[Any]:
        found = body(*values)
        steps = (step for _, _, step in walks)
        return [*(builder.add(v, s) for v, s in zip(values[:many], steps, strict=True)), *found]

    def row(*values: Any) -> Sequence[Any]:
        found = loop(columns, values, column)[many:]
        steps = (step for _, step, _ in walks)
        return [*(builder.add(v, s) for v, s in zip(values[:many], steps, strict=True)), *found]

    return cast(Sequence[Any], loop(rows, [*(w[0] for w in walks), *results], row)[many:])


def _opaque(builder: Any, value: Any) -> Any:
    """The same integer, of which LLVM knows nothing: an empty line of assembly.

    So it cannot unroll a loop by 8 that goes round 2 or 3 times, at the cost of its registers.
    """
    kind = ir.FunctionType(value.type, [value.type])
    return builder.call(ir.InlineAsm(kind, "", "=r,0"), [value])


def parts(builder: Any, pack: Any) -> list[Any]:
    """The integers of a tuple."""
    return [builder.extract_value(pack, i) for i in range(len(pack.type))]


def _places(builder: Any, at: Any, jump: Any, vectors: int) -> list[Any]:
    places = [at]
    for _ in range(vectors - 1):
        places.append(builder.add(places[-1], jump))
    return places


def in_lanes(builder: Any, number: Any, cells: Memory) -> Any:
    """A kernel cell's number in all lanes."""
    return splat(builder, builder.trunc(number, cells.element), cells.lanes)


def all_set(builder: Any, masks: Sequence[Any]) -> Any:
    """Whether every lane of all these masks is on; true for none."""
    if not masks:
        return ir.Constant(ir.IntType(1), 1)
    kind = ir.IntType(masks[0].type.count)
    both = reduce(builder.and_, masks)
    return builder.icmp_signed("==", builder.bitcast(both, kind), kind(-1))


def turns(builder: Any, vectors: Sequence[Any], lanes: int) -> list[Any]:
    """The vectors that hold the lanes of these in turns: of one alone, or of two."""
    if len(vectors) == 1:
        return list(vectors)
    results = []
    for half in range(2):
        numbers = range(half * lanes // 2, (half + 1) * lanes // 2)
        order = [n for i in numbers for n in (i, lanes + i)]
        mixed = ir.Constant(ir.VectorType(_I32, lanes), order)
        results.append(builder.shuffle_vector(*vectors, mixed))
    return results


def write_pairs(
    memory: Memory, even: Sequence[Any], odd: Sequence[Any], target: Any, shape: Shape
) -> None:
    """Store two vectors' lanes in turns, as `TARGET` says."""
    builder, lanes = memory.builder, memory.lanes
    at, lane, limit, jump = parts(builder, target)
    starts = [builder.add(lane, lane.type(half * lanes)) for half in range(2)]
    places = _places(builder, at, jump, shape.vectors)
    for *pair, place in zip(even, odd, places, strict=True):
        for values, start in zip(turns(builder, pair, lanes), starts, strict=True):
            _store_until(memory, values, place, start, limit, shape)


def write(memory: Memory, values: Sequence[Any], target: Any, shape: Shape) -> None:
    """Store results as `TARGET` says."""
    builder = memory.builder
    at, lane, limit, jump = parts(builder, target)
    for value, place in zip(values, _places(builder, at, jump, shape.vectors), strict=True):
        _store_until(memory, value, place, lane, limit, shape)


def _store_until(
    memory: Memory, value: Any, line: Any, lane: Any, limit: Any, shape: Shape
) -> None:
    """Store a vector at a lane of a line; if it is not `whole`, what lies before the limit."""
    place = memory.builder.add(line, lane)
    if shape.whole:
        memory.store(value, place)
    else:
        memory.store_first(value, place, memory.builder.sub(limit, lane))
