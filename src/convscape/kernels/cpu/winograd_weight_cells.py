"""Winograd's weight gradient on its way out: from 36 sums to a kernel's cells, in either order."""

import numpy as np

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.tile import WIDEST
from convscape.kernels.cpu.turned import reach
from convscape.kernels.cpu.winograd_transforms import kernel_cells, kernel_cells_in_rows


@kernel
def room_for_cells(edge, sums, lanes):
    """Room for the cells of as many kernels as the widest block has columns."""
    cells, widest = (7 - edge) ** 2, WIDEST * lanes
    return scratch(cells * widest + reach(cells, lanes), sums)


@kernel
def put_cells(edge, last, add, sums, at, plane, row, c0, c_size, count, lanes, line, dw):
    """G^T u G of the sums u[e] = sums[at + e plane + c], c < count, of output channel number `row`.

    The kernels are those of the input channels from c0 on, of c_size. With `last` the gradient is
    (k, side, side, c), else (k, c, side, side); with `add` it is added to what is there.
    """
    cells = (7 - edge) ** 2
    reads, places = np.arange(36) * plane, np.arange(cells)
    start = row * c_size * cells
    if last and not add:
        kernel_cells(edge, sums, at, reads, dw, start + c0, places * c_size, count)
    elif last:
        kernel_cells(edge, sums, at, reads, line, 0, places * count, count)
        for t in range(cells):
            to = start + t * c_size + c0
            for c in range(count):
                dw[to + c] += line[t * count + c]
    else:
        for c in range(0, count, lanes):
            kernel_cells_in_rows(edge, sums, at + c, reads, line, c * cells, cells)
        to = start + c0 * cells
        for i in range(count * cells):
            dw[to + i] = dw[to + i] + line[i] if add else line[i]
