"""Tiles of an image in channels-last memory, its border included, and where their points lie."""

import numpy as np

from convscape.kernels.cpu.fetch import fetch_far_run
from convscape.kernels.cpu.jit import inlined, kernel, maker
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.winograd_transforms import (
    edge_of,
    input_points,
    output_cells,
    output_points,
    points_of,
    read_of,
)


@kernel
def gather(x, strides, size, channels, top, left, at, edge, patch):
    """The edge x edge tile whose corner is (top, left), into `patch`; outside there are zeros."""
    patch[:] = 0
    for i in range(max(0, -top), min(edge, size[0] - top)):
        for j in range(max(0, -left), min(edge, size[1] - left)):
            source = x[at + (top + i) * strides[1] + (left + j) * strides[2] :]
            line = patch[(i * edge + j) * channels : (i * edge + j + 1) * channels]
            for c in range(channels):
                line[c] = source[c]


@kernel
def inside(top, left, size, edge):
    """Whether the tile reads real cells only."""
    return top >= 0 and left >= 0 and top + edge <= size[0] and left + edge <= size[1]


@inlined
def load_tile(
    form, x, strides, size, channels, top, left, at, within, patch, reads, out, to, writes
):
    """Transform the input tile whose corner is (top, left)."""
    read = read_of(form)
    if inside(top, left, size, read):
        corner = at + top * strides[1] + left * strides[2]
        input_points(form, x, corner, within, out, to, writes, channels)
    else:
        gather(x, strides, size, channels, top, left, at, read, patch)
        input_points(form, patch, 0, reads, out, to, writes, channels)


@kernel
def row_of(channels, lanes):
    """Length of a row of points: whole vectors, and one cache line off a multiple of the page."""
    return (channels + lanes - 1) // lanes * lanes + lanes


@kernel
def plane_of(count, row, lanes):
    """Distance of two planes of rows: an odd number of vectors.

    A tile's points are written at this distance. Were it a large power of two times something,
    they would compete for a few sets of the cache; an odd number of lines uses all.
    """
    return (count * row // lanes | 1) * lanes


@maker
def spread_input(
    form, x, strides, size, c0, channels, corner, grid, first, count, row, plane, spread
):
    """Set spread[e plane + t row + c] to point e of channel c0 + c of the tile number first + t.

    Tiles are those of an output (n, h, w) = grid; the first one's corner is at -corner.
    """
    edge, read = edge_of(form), read_of(form)
    down, across = (grid[1] + edge - 1) // edge, (grid[2] + edge - 1) // edge
    cells = read * read
    patch = scratch(cells * channels, x)
    within, patched = np.empty(cells, np.int64), np.arange(cells) * channels
    writes = np.arange(points_of(form)) * plane
    for cell in range(cells):
        within[cell] = cell // read * strides[1] + cell % read * strides[2]
    for t in range(count):
        line, tx = divmod(first + t, across)
        n, ty = divmod(line, down)
        load_tile(
            form, x, strides, size, channels, ty * edge - corner[0], tx * edge - corner[1],
            n * strides[0] + c0, within, patch, patched, spread, t * row, writes,
        )  # fmt: skip


@maker
def spread_output(form, dy, strides, k0, channels, grid, first, count, row, plane, given):
    """`spread_input` of the output's gradient: A dy A^T, of channels from k0 on."""
    _, h_size, w_size = grid
    edge = edge_of(form)
    down, across = (h_size + edge - 1) // edge, (w_size + edge - 1) // edge
    cells = edge * edge
    patch = scratch(cells * channels, dy)
    within, patched = np.empty(cells, np.int64), np.arange(cells) * channels
    writes = np.arange(points_of(form)) * plane
    for o in range(cells):
        within[o] = o // edge * strides[1] + o % edge * strides[2]
    for t in range(count):
        line, tx = divmod(first + t, across)
        n, ty = divmod(line, down)
        at, top, left = n * strides[0] + k0, ty * edge, tx * edge
        if inside(top, left, (h_size, w_size), edge):
            at += top * strides[1] + left * strides[2]
            output_points(form, dy, at, within, given, t * row, writes, channels)
        else:
            gather(dy, strides, (h_size, w_size), channels, top, left, at, edge, patch)
            output_points(form, patch, 0, patched, given, t * row, writes, channels)


@kernel
def ask_for_output(form, y, channels, grid, first, last):
    """Ask for the cells that the tiles [first, last) will write: a store waits for its line."""
    edge = edge_of(form)
    _, h_size, w_size = grid
    down, across = (h_size + edge - 1) // edge, (w_size + edge - 1) // edge
    for t in range(first, last):
        line, tx = divmod(t, across)
        n, ty = divmod(line, down)
        at = ((n * h_size + ty * edge) * w_size + tx * edge) * channels
        for i in range(edge):
            fetch_far_run(y, at + i * w_size * channels, edge * channels)


@inlined
def store_tile(
    form, products, at, reads, y, corner, placed, real, bias, k0, relu, top, left, size,
    border, bordered,
):  # fmt: skip
    """The output tile at (top, left) of a map of this size from its products, plus bias.

    A tile that the border cuts is made in `border` and its real cells are copied.
    """
    edge = edge_of(form)
    if inside(top, left, size, edge):
        output_cells(form, relu, products, at, reads, y, corner, placed, real, bias, k0)
        return
    output_cells(form, relu, products, at, reads, border, 0, bordered, real, bias, k0)
    for i in range(min(edge, size[0] - top)):
        for j in range(min(edge, size[1] - left)):
            cell = i * edge + j
            out = y[corner + placed[cell] : corner + placed[cell] + real]
            source = border[bordered[cell] :]
            for k in range(real):
                out[k] = source[k]
