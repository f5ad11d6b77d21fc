"""Blocks of output columns, and the register tile that fits each.

Columns (output channels, as a rule) are cut into blocks of the widest tile, then of two vectors
and of one, so that no more than a vector's lanes lie idle.
"""

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.simd import SIMD, register_tile

WIDEST = SIMD.vectors
"""Vectors of the widest block."""

_wide = register_tile(WIDEST)
_two = register_tile(2)
_one = register_tile(1)
_fresh_wide = register_tile(WIDEST, fresh=True)
_fresh_two = register_tile(2, fresh=True)
_fresh_one = register_tile(1, fresh=True)


@kernel
def block_vectors(left, lanes):
    """Vectors of the next block of columns, when `left` columns are still to do."""
    if left > (WIDEST - 1) * lanes:
        return WIDEST
    return 2 if left > lanes else 1


@kernel
def multiply_add(
    vectors, a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
):
    """Add to a tile of this many vectors; see `convscape.kernels.cpu.simd.register_tile`."""
    if vectors == WIDEST:
        _wide(
            a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
        )
    elif vectors == 2:
        _two(
            a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
        )
    else:
        _one(
            a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
        )


@kernel
def multiply(
    vectors, a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
):
    """Set a tile of this many vectors, whatever it held."""
    if vectors == WIDEST:
        _fresh_wide(
            a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
        )
    elif vectors == 2:
        _fresh_two(
            a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
        )
    else:
        _fresh_one(
            a, rows, first, shift, a_jump, a_step, b, start, b_jump, b_step, outer, count, tile, at
        )
