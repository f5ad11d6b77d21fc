"""Blocks of output columns, and the register tile that fits each.

Columns (output channels, as a rule) are cut into blocks of the widest tile, then of two vectors
and of one, so that no more than a vector's lanes lie idle.
"""

from convscape.kernels.cpu.copy import copy_run
from convscape.kernels.cpu.jit import inlined, kernel
from convscape.kernels.cpu.simd import SIMD, register_tile
from convscape.kernels.cpu.simd_finish import finishing_tile

WIDEST = SIMD.vectors
"""Vectors of the widest block."""

_BYTES = SIMD.bits // 8

LONGEST = min(256, (32 << 10) // (WIDEST * _BYTES))
"""Products of one piece of a weight gradient's sum: longer ones lose digits, and the panel that all
rows of tiles multiply with, as wide as the widest block, would leave the nearest cache."""

_wide = register_tile(WIDEST)
_two = register_tile(2)
_one = register_tile(1)
_fresh_wide = register_tile(WIDEST, fresh=True)
_fresh_two = register_tile(2, fresh=True)
_fresh_one = register_tile(1, fresh=True)
_wide_of_two = register_tile(WIDEST, rows=2)
_wide_of_four = register_tile(WIDEST, rows=4)
_fresh_wide_of_two = register_tile(WIDEST, fresh=True, rows=2)
_fresh_wide_of_four = register_tile(WIDEST, fresh=True, rows=4)
_asking_wide = register_tile(WIDEST, asks=True)
_asking_of_two = register_tile(WIDEST, rows=2, asks=True)
_asking_of_four = register_tile(WIDEST, rows=4, asks=True)
_across_wide = finishing_tile(WIDEST, whole=False, across=True)
_across_two = finishing_tile(2, whole=False, across=True)
_across_one = finishing_tile(1, whole=False, across=True)
_whole_across_wide = finishing_tile(WIDEST, whole=True, across=True)
_whole_across_two = finishing_tile(2, whole=True, across=True)
_whole_across_one = finishing_tile(1, whole=True, across=True)
_across_wide_of_two = finishing_tile(WIDEST, whole=False, across=True, rows=2)
_across_wide_of_four = finishing_tile(WIDEST, whole=False, across=True, rows=4)
_whole_across_wide_of_two = finishing_tile(WIDEST, whole=True, across=True, rows=2)
_whole_across_wide_of_four = finishing_tile(WIDEST, whole=True, across=True, rows=4)
_down_wide = finishing_tile(WIDEST, whole=False, across=False)
_down_two = finishing_tile(2, whole=False, across=False)
_down_one = finishing_tile(1, whole=False, across=False)
_whole_down_wide = finishing_tile(WIDEST, whole=True, across=False)
_whole_down_two = finishing_tile(2, whole=True, across=False)
_whole_down_one = finishing_tile(1, whole=True, across=False)


@kernel
def block_vectors(left, lanes):
    """Vectors of the next block of columns, when `left` columns are still to do."""
    if left > (WIDEST - 1) * lanes:
        return WIDEST
    return 2 if left > lanes else 1


@kernel
def own_blocks(part, parts, columns, lanes):
    """A thread's columns [low, high), whole blocks, where columns are what threads divide.

    All is (0, columns) where too few blocks would leave a thread with less than the others.
    """
    widest = WIDEST * lanes
    blocks = (columns + widest - 1) // widest
    if blocks < 4 * parts and blocks % parts:
        return 0, columns
    return (
        blocks * part // parts * widest,
        min(blocks * (part + 1) // parts * widest, columns),
    )


@inlined
def copy_block(source, at, target, to, real):
    """Copy the `real` columns of a block, which are neighbours on both sides."""
    widest = WIDEST * (_BYTES // source.itemsize)
    if real == widest:  # a number that is known now: vectors are moved, no function is called
        copy_run(source, at, target, to, widest)
    else:
        copy_run(source, at, target, to, real)


@inlined
def multiply_add(vectors, *given):
    """Add to a tile of this many vectors; see `convscape.kernels.cpu.simd.register_tile`."""
    if vectors == WIDEST:
        _wide(*given)
    elif vectors == 2:
        _two(*given)
    else:
        _one(*given)


@inlined
def multiply(vectors, *given):
    """Set a tile of this many vectors, whatever it held."""
    if vectors == WIDEST:
        _fresh_wide(*given)
    elif vectors == 2:
        _fresh_two(*given)
    else:
        _fresh_one(*given)


@inlined
def multiply_add_few(rows, vectors, *given):
    """`multiply_add` where only so many rows are wanted: others may be left as they are."""
    if rows > 4 or vectors < WIDEST:
        multiply_add(vectors, *given)
    elif rows > 2:
        _wide_of_four(*given)
    else:
        _wide_of_two(*given)


@inlined
def multiply_few(rows, vectors, *given):
    """`multiply` where only so many rows are wanted."""
    if rows > 4 or vectors < WIDEST:
        multiply(vectors, *given)
    elif rows > 2:
        _fresh_wide_of_four(*given)
    else:
        _fresh_wide_of_two(*given)


@inlined
def multiply_add_streamed(rows, vectors, *given):
    """`multiply_add_few` where the block's columns come from memory, for few rows only."""
    if vectors < WIDEST:
        multiply_add(vectors, *given)
    elif rows > 4:
        _asking_wide(*given)
    elif rows > 2:
        _asking_of_four(*given)
    else:
        _asking_of_two(*given)


@inlined
def finish_across(vectors, whole, *given):
    """The last piece of a sum, with a bias a column; see `convscape.kernels.cpu.simd_finish`."""
    if whole:
        if vectors == WIDEST:
            _whole_across_wide(*given)
        elif vectors == 2:
            _whole_across_two(*given)
        else:
            _whole_across_one(*given)
    elif vectors == WIDEST:
        _across_wide(*given)
    elif vectors == 2:
        _across_two(*given)
    else:
        _across_one(*given)


@inlined
def finish_across_few(rows, vectors, whole, *given):
    """`finish_across` where only so many rows are wanted: others may be left as they are."""
    if rows > 4 or vectors < WIDEST:
        finish_across(vectors, whole, *given)
    elif whole:
        if rows > 2:
            _whole_across_wide_of_four(*given)
        else:
            _whole_across_wide_of_two(*given)
    elif rows > 2:
        _across_wide_of_four(*given)
    else:
        _across_wide_of_two(*given)


@inlined
def finish_down(vectors, whole, *given):
    """The last piece of a sum, with a bias a row; see `convscape.kernels.cpu.simd_finish`."""
    if whole:
        if vectors == WIDEST:
            _whole_down_wide(*given)
        elif vectors == 2:
            _whole_down_two(*given)
        else:
            _whole_down_one(*given)
    elif vectors == WIDEST:
        _down_wide(*given)
    elif vectors == 2:
        _down_two(*given)
    else:
        _down_one(*given)
