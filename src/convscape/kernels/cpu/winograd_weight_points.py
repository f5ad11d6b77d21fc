"""Winograd's points for the weight gradient: B^T d B of the input, A dy A^T of the output's."""

import numpy as np

from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.winograd_tiles import gather, inside, load_tile
from convscape.kernels.cpu.winograd_transforms import output_points


@team
def spread_tiles(
    part, parts, edge, x, strides, size, dy, dy_strides, channels, lanes, corner, grid, first,
    count, spread, given,
):  # fmt: skip
    """Points of x and of dy for the tiles [first, first + count), a share of them."""
    if divide(part, parts):
        return
    _, h_size, w_size = grid
    c_size, k_size = channels
    down, across = (h_size + edge - 1) // edge, (w_size + edge - 1) // edge
    c_row, k_row = row_of(c_size, lanes), row_of(k_size, lanes)
    c_plane, k_plane = plane_of(count, c_row, lanes), plane_of(count, k_row, lanes)
    cells = edge * edge
    patch, dy_patch = scratch(36 * c_size, x), scratch(cells * k_size, x)
    within, patched, writes = np.empty(36, np.int64), np.empty(36, np.int64), np.empty(36, np.int64)
    dy_within, dy_patched = np.empty(cells, np.int64), np.empty(cells, np.int64)
    dy_writes = np.empty(36, np.int64)
    for e in range(36):
        within[e] = e // 6 * strides[1] + e % 6 * strides[2]
        patched[e] = e * c_size
        writes[e] = e * c_plane
        dy_writes[e] = e * k_plane
    for o in range(cells):
        dy_within[o] = o // edge * dy_strides[1] + o % edge * dy_strides[2]
        dy_patched[o] = o * k_size
    for t in range(count * part // parts, count * (part + 1) // parts):
        line, tx = divmod(first + t, across)
        n, ty = divmod(line, down)
        load_tile(
            x, strides, size, c_size, ty * edge - corner[0], tx * edge - corner[1],
            n * strides[0], within, patch, patched, spread, t * c_row, writes,
        )  # fmt: skip
        at, to, bounds = n * dy_strides[0], t * k_row, (h_size, w_size)
        if inside(ty * edge, tx * edge, bounds, edge):
            at += ty * edge * dy_strides[1] + tx * edge * dy_strides[2]
            output_points(edge, dy, at, dy_within, given, to, dy_writes, k_size)
        else:
            gather(dy, dy_strides, bounds, k_size, ty * edge, tx * edge, at, edge, dy_patch)
            output_points(edge, dy_patch, 0, dy_patched, given, to, dy_writes, k_size)


@kernel
def row_of(channels, lanes):
    """Length of a row of points: whole vectors, and one cache line off a multiple of the page."""
    return (channels + lanes - 1) // lanes * lanes + lanes


@kernel
def plane_of(count, row, lanes):
    """Distance of two planes of rows: an odd number of vectors.

    A tile's 36 points are written at this distance. Were it a large power of two times something,
    they would compete for a few sets of the cache; an odd number of lines uses all.
    """
    return (count * row // lanes | 1) * lanes
