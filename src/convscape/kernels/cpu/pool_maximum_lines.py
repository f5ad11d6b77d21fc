"""Maximum pooling backward in plain memory, for the usual windows: 2x2 and 3x3, stride 1 or 2.

    dx[h, w] = sum over kernel cells (r, s) and outputs (o, m) that meet there of
        dy[o, m] where where[o, m] is the cell's number, r side + s

The cells of a line at one phase (their position modulo the stride) meet neighbouring outputs: a
vector. Two lines, a block, are computed together, because they meet the same lines of outputs:
each vector of those is loaded once for all its kernel cells.

Blocks are written from the first line on, and a line from its last vector on: what a vector spoils
behind its line's end is written later. So only the last vectors are masked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.pool_axes import Axis
from convscape.kernels.cpu.pool_lanes import Memory, constant, inside, parts, splat, turns
from convscape.kernels.cpu.simd import SIMD

_LINES = 2  # of a block
_MARGIN = 2 * SIMD.lanes(4)  # outputs around a plane's that vectors may read

AXIS = types.UniTuple(types.intp, 6)
PLACES = types.UniTuple(types.intp, 6)
"""(where the plane is in dy, in `where` and in dx, first block, end of blocks, end of dx)."""


@dataclass(frozen=True)
class Block:
    """What is emitted for the blocks of a plane.

    Args:
        builder: Where to.
        side: Rows and columns of the kernel.
        stride: 1 or 2.
        given: dy.
        cells: The numbers of the cells.
        out: dx.
    """

    builder: Any
    side: int
    stride: int
    given: Memory
    cells: Memory
    out: Memory

    def rows(self, number: Any, h_out: Any, w_out: Any) -> list[tuple[int, Any, Any]]:
        """The lines of outputs that block `number` meets.

        Each as (its place after the first that begins in the block, its start, what to OR its cell
        numbers with: a line that does not exist is the plane's first, with numbers of no cell).
        """
        builder, many, found = self.builder, _LINES // self.stride, []
        for e in range(-((self.side - 1) // self.stride), many):
            row = builder.add(builder.mul(number, number.type(many)), number.type(e))
            exists = builder.icmp_unsigned("<", row, h_out)
            start = builder.mul(builder.select(exists, row, row.type(0)), w_out)
            none = builder.sext(builder.not_(exists), self.cells.element)
            found.append((e, start, splat(builder, none, self.cells.lanes)))
        return found

    def totals(
        self, rows: Sequence[tuple[int, Any, Any]], starts: tuple[Any, Any], first: Any, w_out: Any
    ) -> list[list[Any]]:
        """A vector of each line's phases: of the cells that lie at the outputs from `first` on."""
        builder, side, stride = self.builder, self.side, self.stride
        zero = constant(self.given, 0)
        before = [builder.sub(first, first.type(d)) for d in range((side - 1) // stride + 1)]
        real = [inside(builder, at, w_out, self.given.lanes) for at in before]
        totals: list[list[Any]] = [[None] * stride for _ in range(_LINES)]
        for e, row, none in rows:
            for d, at in enumerate(before):
                given_at, cells_at = (builder.add(builder.add(s, row), at) for s in starts)
                value = self.given.load(given_at, real[d], zero)
                cell = builder.or_(self.cells.load(cells_at), none)
                for line in range(_LINES):
                    for phase in range(stride):
                        r, s = line - stride * e, phase + stride * d
                        if not (0 <= r < side and s < side):
                            continue
                        here = constant(self.cells, r * side + s)
                        mine = builder.icmp_unsigned("==", cell, here)
                        total = totals[line][phase]
                        added, other = (
                            (value, zero) if total is None else (builder.fadd(total, value), total)
                        )
                        totals[line][phase] = builder.select(mine, added, other)
        return totals

    def write(self, totals: list[list[Any]], line: Any, start: Any, cell: Any, limits: Any) -> None:
        """Store the lines from number `line` on, which begin at `start`, from this cell on."""
        builder, lanes = self.builder, self.out.lanes
        h_size, w_size, end = limits
        word = cell.type
        for i, phases in enumerate(totals):
            exists = builder.icmp_unsigned("<", builder.add(line, word(i)), h_size)
            with builder.if_then(exists):
                for n, values in enumerate(turns(builder, phases, lanes)):
                    at = builder.add(cell, word(n * lanes))
                    with builder.if_then(builder.icmp_signed("<", at, w_size)):
                        place = builder.add(builder.add(start, builder.mul(w_size, word(i))), at)
                        behind = builder.add(place, word(lanes))
                        free = builder.and_(
                            builder.icmp_signed(">=", at, word(0)),
                            builder.icmp_signed("<=", behind, end),
                        )
                        with builder.if_else(free) as (whole, masked):
                            with whole:
                                self.out.store(values, place)
                            with masked:
                                self.out.store(values, place, inside(builder, at, w_size, lanes))


def blocks_lanes(side: int, stride: int) -> Callable[..., None]:
    """An intrinsic for some blocks of a plane: `f(dy, where, dx, places, height, width)`."""

    @intrinsic
    def apply(
        _context: Any, dy: Any, where: Any, dx: Any, places: Any, height: Any, width: Any
    ) -> Any:
        signature = types.void(dy, where, dx, PLACES, AXIS, AXIS)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = SIMD.lanes(dy.dtype.bitwidth // 8)
            memory = (Memory(context, builder, sig.args[n], args[n], lanes) for n in range(3))
            block = Block(builder, side, stride, *memory)
            *starts, to, begin, finish, end = parts(builder, args[3])
            *_, top, h_size, h_out = parts(builder, args[4])
            *_, left, w_size, w_out = parts(builder, args[5])
            word = to.type
            low = builder.sdiv(left, word(stride))
            high = builder.sdiv(builder.sub(builder.add(left, w_size), word(1)), word(stride))
            last = builder.sdiv(builder.sub(high, low), word(lanes))
            with cgutils.for_range_slice(builder, begin, finish, word(1)) as (number, _):
                line = builder.sub(builder.mul(number, word(_LINES)), top)
                start = builder.add(to, builder.mul(line, w_size))
                rows = block.rows(number, h_out, w_out)
                with cgutils.for_range(builder, builder.add(last, word(1))) as loop:
                    vector = builder.mul(builder.sub(last, loop.index), word(lanes))
                    first = builder.add(low, vector)
                    totals = block.totals(rows, tuple(starts), first, w_out)
                    cell = builder.sub(builder.mul(first, word(stride)), left)
                    block.write(totals, line, start, cell, (h_size, w_size, end))
            return context.get_dummy_value()

        return signature, generate

    return cast(Callable[..., None], apply)


_two, _three, _near = blocks_lanes(2, 2), blocks_lanes(3, 2), blocks_lanes(3, 1)


@team
def lines_part(part, parts, dy, where, dx, count, height, width):
    """The blocks of all planes."""
    if divide(part, parts):
        return
    (side, stride, _, top, h_size, h_out) = height
    size, outputs = h_size * width[4], h_out * width[5]
    first = top // _LINES
    blocks = (h_size - 1 + top) // _LINES + 1 - first
    job, last = count * blocks * part // parts, count * blocks * (part + 1) // parts
    plane, block = divmod(last, blocks)
    end = plane * size
    if block > 0:
        end += max(0, (first + block) * _LINES - top) * width[4]
    around = np.empty(outputs + 2 * _MARGIN, where.dtype)
    plane, block = divmod(job, blocks)
    while job < last:
        ahead = min(blocks, block + last - job)
        cells, at = where, plane * outputs
        if at < _MARGIN or at + outputs + _MARGIN > len(where):
            around[_MARGIN : _MARGIN + outputs] = where[at : at + outputs]
            cells, at = around, _MARGIN
        places = (plane * outputs, at, plane * size, first + block, first + ahead, end)
        if stride == 1:
            _near(dy, cells, dx, places, height, width)
        elif side == 2:
            _two(dy, cells, dx, places, height, width)
        else:
            _three(dy, cells, dx, places, height, width)
        job += ahead - block
        plane, block = plane + 1, 0


def serves(height: Axis, width: Axis) -> bool:
    """Whether this file is for windows of this height and width."""
    _, stride, _, left, w_size, w_out = width
    known = height[:3] == width[:3] and width[:3] in ((2, 2, 1), (3, 2, 1), (3, 1, 1))
    # Behind the last window of a line are no more cells than vectors may read outputs.
    return known and (w_size - 1 + left) // stride <= w_out + 1
