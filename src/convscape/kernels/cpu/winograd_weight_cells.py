"""Winograd's weight gradient on its way out: from the points' sums to cells, in either order."""

from convscape.kernels.cpu.fetch import fetch_to_write
from convscape.kernels.cpu.jit import kernel, maker
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.winograd_transforms import kernel_cells, kernel_cells_in_rows, side_of


@maker
def room_for_cells(form, sums, lanes):
    """Room for the cells of a vector's lanes of kernels."""
    return scratch(side_of(form) ** 2 * lanes, sums)


@kernel
def put_cells(form, last, add, sums, at, plane, row, c0, c_size, count, lanes, line, dw):
    """G^T u G of the sums u[e] = sums[at + e plane + c], c < count, of output channel number `row`.

    The kernels are those of the input channels from c0 on, of c_size. With `last` the gradient is
    (k, side, side, c), else (k, c, side, side); with `add` it is added to what is there.
    """
    cells = side_of(form) ** 2
    start = row * c_size * cells
    whole = 0 if add else count // lanes * lanes
    after = start + c_size * cells
    for c in range(0, whole, lanes):
        if last:
            for t in range(cells):
                fetch_to_write(dw, after + t * c_size + c0 + c)
        else:
            for t in range(cells):
                fetch_to_write(dw, after + (c0 + c) * cells + t * lanes)
        if last:
            kernel_cells(form, sums, at + c, plane, dw, start + c0 + c, c_size)
        else:
            kernel_cells_in_rows(form, sums, at + c, plane, dw, start + (c0 + c) * cells, cells)
    for c in range(whole, count, lanes):
        real = min(lanes, count - c)
        if last:
            kernel_cells(form, sums, at + c, plane, line, 0, lanes)
            runs, length, to = cells, real, start + c0 + c
        else:
            kernel_cells_in_rows(form, sums, at + c, plane, line, 0, cells)
            runs, length, to = 1, real * cells, start + (c0 + c) * cells
        for r in range(runs):
            found = line[r * lanes : r * lanes + length]
            out = dw[to + r * c_size : to + r * c_size + length]
            if add:
                for i in range(length):
                    out[i] += found[i]
            else:
                for i in range(length):
                    out[i] = found[i]
