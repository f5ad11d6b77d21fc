"""A thread's share of a convolution along one axis by Winograd (see `winograd_axis`)."""

import numpy as np

from convscape.kernels.cpu.copy import copy_run
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch_run
from convscape.kernels.cpu.gemm_pack import pack_block, places_of
from convscape.kernels.cpu.gemm_segments import own_channels
from convscape.kernels.cpu.jit import inlined, kernel, maker, team
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.simd import ROWS
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply_add_few, multiply_few
from convscape.kernels.cpu.winograd_axis_points import (
    input6_cells,
    input7_cells,
    kernel3_cells,
    kernel4_cells,
    output6_cells,
    output6_relu_cells,
    output7_cells,
    output7_relu_cells,
)
from convscape.kernels.cpu.winograd_form import EDGE, PIECE, axis_form

form_of = inlined(axis_form)


@maker
def _blocks(k_size, lanes, low, high):
    """Blocks [low, high) of the output channels: where each begins and ends.

    They are cut in two halves first, for two threads.
    """
    found = []
    for half in range(2):
        k0, end = own_channels(half, 2, k_size, lanes, True, True)
        while k0 < end:
            width = block_vectors(end - k0, lanes) * lanes
            if low <= k0 < high:
                found.append((k0, min(k0 + width, end), width))
            k0 += width
    return found


@maker
def _spread(x, steps, cells, low, first, lines, per_image, across, channels, points, plane, spread):
    """Set spread[e plane + (line across + j) channels + c] to the points of a line's j-th tile."""
    sn, sl, sa = steps
    patch = scratch(points * channels, x)
    within, writes = np.arange(points) * sa, np.arange(points) * plane
    patched = np.arange(points) * channels
    for line in range(lines):
        n, at_line = divmod(first + line, per_image)
        here = n * sn + at_line * sl
        for j in range(across):
            start = j * EDGE - low
            to = (line * across + j) * channels
            source, at, reads = x, here + start * sa, within
            if start < 0 or start + points > cells:
                patch[:] = 0
                for i in range(max(0, -start), min(points, cells - start)):
                    copy_run(x, at + i * sa, patch, i * channels, channels)
                source, at, reads = patch, 0, patched
            if points == 7:
                input7_cells(source, at, reads, spread, to, writes, channels, x, 0)
            else:
                input6_cells(source, at, reads, spread, to, writes, channels, x, 0)


@maker
def _kernel_points(packed, taps, flip, run, made, to):
    """Points [e][piece][c][lane] of packed weights [tap][c][lane], `run` numbers a tap.

    What a last piece has too few of is read behind the last tap, where there are zeros.
    """
    points, pieces, _ = form_of(taps)
    size = 3 if points == 6 else PIECE
    reads, writes = np.empty(size, np.int64), np.arange(points) * pieces * run
    for piece in range(pieces):
        for t in range(size):
            tap = piece * PIECE + t
            if tap < taps:
                tap = taps - 1 - tap if flip else tap
            else:
                tap = taps
            reads[t] = tap * run
        if points == 7:
            kernel4_cells(packed, 0, reads, made, to + piece * run, writes, run, packed, 0)
        else:
            kernel3_cells(packed, 0, reads, made, to + piece * run, writes, run, packed, 0)


@kernel
def _cells(products, at, reads, out, to, writes, real, bias, k0, relu, points):
    """Four outputs of `real` channels from a tile's products."""
    if points == 7:
        if relu:
            output7_relu_cells(products, at, reads, out, to, writes, real, bias, k0)
        else:
            output7_cells(products, at, reads, out, to, writes, real, bias, k0)
    elif relu:
        output6_relu_cells(products, at, reads, out, to, writes, real, bias, k0)
    else:
        output6_cells(products, at, reads, out, to, writes, real, bias, k0)


@maker
def _pack(weight, strides, c0, depth, block, taps, flip, lanes, packed, made, to):
    """The points of a block of output channels and some input channels, at made[to]."""
    k0, end, width = block
    run, (sk, sc, st) = depth * width, strides
    order = places_of(depth, depth, taps, lanes)
    pack_block(
        weight, k0 * sk + c0 * sc, (sk, sc, taps * st, st), (depth, 1, taps), 0, depth, end - k0,
        width, order, packed, 0,
    )  # fmt: skip
    packed[taps * run : (taps + 1) * run] = 0
    _kernel_points(packed, taps, flip, run, made, to)


@team
def pack_part(part, parts, places, sizes, strides, flip, taps, channels, lanes, like):
    """Points [block][piece of a sum][e][piece][c][lane] of all kernels, a share of the blocks.

    `places` says where the weights and the points begin, `sizes` how many elements they have.
    """
    if divide(part, parts):
        return
    weight, made = at_address(places[0], sizes[0], like), at_address(places[1], sizes[1], like)
    c_size, k_size = channels
    points, pieces, most = form_of(taps)
    packed = scratch((taps + 1) * most * WIDEST * lanes, weight)
    low, high = own_channels(part, parts, k_size, lanes, True, True)
    for block in _blocks(k_size, lanes, low, high):
        to = points * pieces * c_size * block[0]
        for c0 in range(0, c_size, most):
            depth = min(most, c_size - c0)
            _pack(weight, strides, c0, depth, block, taps, flip, lanes, packed, made, to)
            to += points * pieces * depth * block[2]


@team
def multiply_part(
    part, parts, places, sizes, x_steps, y_steps, cells, low, strides, flip, taps, channels, bias,
    relu, lanes, lines, by_lines, packs,
):  # fmt: skip
    """Of the lines [first, last) of all images a share, or of their output channels.

    Args:
        part: Of this share.
        parts: Shares.
        places: Where x, the weights, their points and y begin.
        sizes: Elements of each.
        x_steps: Elements from image to image, line to line and cell to cell.
        y_steps: The same of y.
        cells: Along a line of x, and of y.
        low: Padding before a line's first cell.
        strides: The weights' steps of k, c and taps.
        flip: Whether the taps are reversed.
        taps: Of the kernel.
        channels: Input and output channels.
        bias: (k,).
        relu: Whether negative results become 0.
        lanes: Of a vector.
        lines: First and last, and an image's.
        by_lines: Whether threads divide lines.
        packs: Whether the kernels' points are made here, and not given.
    """
    if divide(part, parts):
        return
    x, weight = at_address(places[0], sizes[0], bias), at_address(places[1], sizes[1], bias)
    made, y = at_address(places[2], sizes[2], bias), at_address(places[3], sizes[3], bias)
    c_size, k_size = channels
    first, last, per_image = lines
    k_low, k_high = own_channels(part, parts, k_size, lanes, not by_lines, True)
    if by_lines:
        many = last - first
        first, last = first + many * part // parts, first + many * (part + 1) // parts
    if first == last or k_low == k_high:
        return
    points, pieces, most = form_of(taps)
    across = (cells[1] + EDGE - 1) // EDGE
    reach = across + pieces - 1  # a tile's kernel pieces read the tiles behind it
    count, widest = (last - first) * across, WIDEST * lanes
    tiles = (count + ROWS - 1) // ROWS * ROWS
    # Planes lie one cache line off a multiple of the page, as in `winograd`.
    plane = (last - first) * reach * c_size + lanes
    result = tiles * widest + lanes
    spread, products = scratch(points * plane, x), scratch(points * result, x)
    packed = scratch((taps + 1) * most * widest if packs else 0, x)
    if packs:
        made = scratch(points * pieces * most * widest, x)
    _spread(
        x, x_steps, cells[0], low, first, last - first, per_image, reach, c_size, points, plane,
        spread,
    )  # fmt: skip
    rows = np.empty(tiles, np.int64)
    for t in range(tiles):  # rows behind the last tile repeat it
        line, j = divmod(min(t, count - 1), across)
        rows[t] = (line * reach + j) * c_size
    gathered, border = np.arange(points) * result, scratch(EDGE * widest, x)
    placed, bordered = np.arange(EDGE) * y_steps[2], np.arange(EDGE) * widest
    for block in _blocks(k_size, lanes, k_low, k_high):
        k0, end, width = block
        vectors, real = width // lanes, end - k0
        by = 0 if packs else points * pieces * c_size * k0
        for c0 in range(0, c_size, most):
            depth = min(most, c_size - c0)
            run = depth * width
            if packs:
                _pack(weight, strides, c0, depth, block, taps, flip, lanes, packed, made, 0)
            for e in range(points):
                at, panel = e * plane + c0, by + e * pieces * run
                # Of the panel behind this one each block of rows asks for its share: in a network
                # the points of the kernels come from far away.
                share, ahead = pieces * run * ROWS // tiles, panel + pieces * run
                for t in range(0, tiles, ROWS):
                    if not packs:
                        fetch_run(made, ahead + t // ROWS * share, share)
                    to = e * result + t * width
                    if c0 == 0:
                        multiply_few(
                            count - t, vectors, spread, rows, t, at, c_size, 1,
                            made, panel, run, width, pieces, depth, products, to,
                        )  # fmt: skip
                    else:
                        multiply_add_few(
                            count - t, vectors, spread, rows, t, at, c_size, 1,
                            made, panel, run, width, pieces, depth, products, to,
                        )  # fmt: skip
            if not packs:
                by += points * pieces * run
        for t in range(count):
            line, j = divmod(t, across)
            n, at_line = divmod(first + line, per_image)
            to = n * y_steps[0] + at_line * y_steps[1] + j * EDGE * y_steps[2] + k0
            some = min(EDGE, cells[1] - j * EDGE)
            if some == EDGE:
                _cells(
                    products, t * width, gathered, y, to, placed, real, bias, k0, relu, points
                )  # fmt: skip
            else:
                _cells(
                    products, t * width, gathered, border, 0, bordered, real, bias, k0, relu, points
                )  # fmt: skip
                for i in range(some):
                    copy_run(border, bordered[i], y, to + placed[i], real)
