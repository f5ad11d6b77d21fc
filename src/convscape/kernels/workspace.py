"""Bytes that each algorithm allocates beside its result, for one thread, in the forward pass."""

from math import prod

from convscape.kernels.algorithm import Problem, geometry_of
from convscape.kernels.cost import LANES, form_and_tiles, in_blocks, rounded
from convscape.kernels.cpu.winograd_form import LEAST, NEAR, axis_form, axis_tiles

ITEMSIZE = {"float32": 4, "float64": 8}

_TILES = 102  # tiles that are taken at once where kernels' points are made block by block
_BLOCK = 64  # output channels of a block
_DEPTH = 32  # input channels of a piece of its sums
_ROWS = 6  # of the register tile
_PANELS = 768 << 10  # bytes of pixels' panels


def matrix_product(problem: Problem) -> int:
    """The padded channels-last input, and the packed weights."""
    geometry = geometry_of(problem)
    groups = geometry.groups
    columns = rounded(geometry.out_channels // groups, LANES)
    cells = _padded_cells(problem) + prod(geometry.weight_shape[1:]) * groups * columns
    return cells * ITEMSIZE.get(problem.dtype, 8)


def matrix_unit(problem: Problem) -> int:
    """The padded channels-last input; panels of all weights, and of a chunk of pixels."""
    geometry = geometry_of(problem)
    deep = in_blocks(geometry, geometry.in_channels, forward=True)
    panels = 6 * deep * rounded(geometry.out_channels, LANES)
    return 4 * _padded_cells(problem) + panels + _PANELS


def winograd(problem: Problem) -> int:
    """Points of a chunk of tiles, and of the kernels: all, or a block and its products."""
    geometry = geometry_of(problem)
    c, k = geometry.in_channels, rounded(geometry.out_channels, LANES)
    form, tiles = form_and_tiles(problem)
    point = form.points * 4
    if form.makes_all_points(tiles, (c, k), 4):
        return point * c * k + max(point * LEAST * (c + k), NEAR)
    chunk = min(tiles, _TILES)
    return point * (chunk * c + _BLOCK * (_DEPTH + chunk))


def winograd_axis(problem: Problem) -> int:
    """Points of a chunk of tiles, a block's kernels and their points, and its products."""
    geometry = geometry_of(problem)
    taps, c = max(geometry.kernel), geometry.in_channels
    points, pieces, depth = axis_form(taps)
    lines, across = axis_tiles(geometry, problem.shape)
    most = max(1, min(lines, _TILES // max(1, across)))
    spread = points * most * (across + pieces - 1) * c
    kernels = (taps + 1 + points * pieces) * min(depth, c) * _BLOCK
    return 4 * (spread + kernels + points * rounded(most * across, _ROWS) * _BLOCK)


def depthwise(problem: Problem) -> int:
    """The packed weights and biases, and 256 KiB for the rows of a few planes in plain order."""
    geometry = geometry_of(problem)
    channels = rounded(geometry.in_channels, LANES)
    cells = (prod(geometry.kernel) + 1) * channels
    return cells * ITEMSIZE.get(problem.dtype, 8) + (256 << 10)


def cell_numbers(problem: Problem) -> int:
    """The number of the kernel cell of each maximum, one byte each for up to 256 cells."""
    geometry = geometry_of(problem)
    size = 1 if prod(geometry.kernel) <= 256 else 4
    return size * prod(problem.shape[:2]) * prod(geometry.outputs(problem.shape[2:]))


def channel_sums(problem: Problem) -> int:
    """Nine float64 numbers a channel, and a table of seven rows of about 1024 elements or more."""
    channels = problem.shape[1]
    return 72 * channels + 7 * ITEMSIZE.get(problem.dtype, 8) * max(1024, channels)


def nothing(_: Problem) -> int:
    """It works in place, or allocates where we do not see it."""
    return 0


def _padded_cells(problem: Problem) -> int:
    n, c, *spatial = problem.shape
    windows = geometry_of(problem).windows
    return n * c * prod(max(0, m + sum(w.padding)) for w, m in zip(windows, spatial, strict=True))
