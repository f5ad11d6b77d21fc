"""What the weight gradient of wide maps copies before it multiplies: pixels of dy, and rows of x.

Pixels whose distance in memory is a multiple of 512 bytes compete for a few places of the cache. Of
each only a few channels are read at a time, and all of its line is fetched again for the next ones:
there these are laid side by side first. Those of dy on every processor, rows of x only where
vectors are short: a first Zen needs it; a Zen 5, whose caches keep up with its multipliers, takes
0.65 to 0.95 of the time without.
"""

from convscape.kernels.cpu.copy import copy_run
from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.tile import copy_block
from convscape.kernels.cpu.transpose import transpose

COMPETING = 512
"""Bytes: pixels so far apart, or a multiple of it, compete."""

COPIES_ROWS = SIMD.bits < 512
"""Whether rows of x are ever copied."""

_PAGE = 4096  # bytes: a processor foresees equal steps that are shorter
_FEW = 8  # pixels whose lines of the cache stay while all tiles take their share


@kernel
def copy_columns(dy, steps, at, lines, pixels, real, width, panel):
    """Set panel[p][j] to output channel j of dy's pixels from `at` on; idle lanes become 0."""
    _, sk, sh, sw = steps
    for line in range(lines):
        to = line * pixels * width
        source = at + line * sh
        if sk == 1:
            for p in range(pixels):
                copy_block(dy, source + p * sw, panel, to + p * width, real)
        elif sw == 1:
            transpose(dy, source, sk, real, pixels, panel, to, width)
        else:
            for p in range(pixels):
                for j in range(real):
                    panel[to + p * width + j] = dy[source + p * sw + j * sk]
        if real < width:
            for p in range(pixels):
                for j in range(real, width):
                    panel[to + p * width + j] = 0


@kernel
def _neighbours(rows, first):
    """Whether a tile's rows are read from neighbours in memory."""
    apart = 0
    for i in range(ROWS):
        apart += rows[first + i] != rows[first] + i
    return apart == 0


@kernel
def copy_rows(x, steps, rows, low, high, shift, lines, pixels, copied, room):
    """Set copied[(t - low) room + p ROWS + i] to what row i of the tiles low <= t < high reads."""
    _, _, sh, sw = steps
    together = _FEW if sw * x.itemsize >= _PAGE else pixels
    for line in range(lines):
        for begin in range(0, pixels, together):
            at = shift + line * sh + begin * sw
            some = min(together, pixels - begin)
            for t in range(low, high):
                first, to = t * ROWS, (t - low) * room + (line * pixels + begin) * ROWS
                if _neighbours(rows, first):
                    for p in range(some):
                        copy_run(x, at + rows[first] + p * sw, copied, to + p * ROWS, ROWS)
                else:
                    for p in range(some):
                        for i in range(ROWS):
                            copied[to + p * ROWS + i] = x[at + rows[first + i] + p * sw]
