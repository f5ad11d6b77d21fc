"""The weight gradient of wide maps on the register tile: the sum runs along the lines of an image.

    dw[k, c, r, s] = Σ_{n, h, w} dy[n, k, h, w] x[n, c, h stride - low + r dilation, ...]

Rows are the weights of one output channel, in the order in which they are wanted: each is the
address where its pixels begin, and the same steps lead through x for all of them, in whatever order
of memory. Columns are output channels. In channels-last memory dy is read where it lies, unless its
pixels compete for places in the cache; else its lines are copied into a panel, which stays in the
L2 cache while all rows pass by. The lines must be long enough to pay for reading and writing the
tile.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.copy import copy_run
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch
from convscape.kernels.cpu.gemm_call import Bound
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, Pads, flat, is_channels_last, padded, weight_shaped
from convscape.kernels.cpu.scratch import at_address
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add, own_blocks
from convscape.kernels.cpu.transpose import transpose

_RUN = 256  # pixels of one panel: 64 KiB, beside which x stays in L2; longer sums lose digits
_LINE = 64  # bytes of a line of the cache
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread
_SETS = 1024  # bytes: pixels so far apart, or a multiple of it, compete for few places of the cache


@kernel
def _panel(dy, steps, at, lines, pixels, real, width, panel):
    """Set panel[p][j] to output channel j of dy's pixels from `at` on; idle lanes become 0."""
    _, sk, sh, sw = steps
    for line in range(lines):
        to = line * pixels * width
        source = at + line * sh
        if sk == 1:
            for p in range(pixels):
                copy_run(dy, source + p * sw, panel, to + p * width, real)
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


@team
def _weight_part(
    part, parts, places, sizes, x_steps, dy_steps, rows, grid, channels, lanes, slabs, like
):
    """A share of dw[group][k][row]: of the output channels if there are many, else of the rows.

    Where there are too few of both, it is a share of the pixels, summed in a slab of its own.
    `places` says where x, dy and dw begin, `sizes` how many elements of like's type they have.
    """
    if divide(part, parts):
        return
    x, dy = at_address(places[0], sizes[0], like), at_address(places[1], sizes[1], like)
    dw = at_address(places[2], sizes[2], like)
    n_size, h_size, w_size = grid
    groups, c_size, k_size = channels
    m_size = dw.size // (slabs * groups * k_size)
    widest = WIDEST * lanes
    tiles = (m_size + ROWS - 1) // ROWS
    # A panel is several short lines, or a piece of a long one.
    lines, pieces = max(1, min(h_size, _RUN // w_size)), (w_size + _RUN - 1) // _RUN
    along = (w_size + pieces - 1) // pieces
    stacks = (h_size + lines - 1) // lines
    panels = n_size * stacks * pieces
    low, high, k_low, k_high, slab, first, last = 0, tiles, 0, k_size, 0, 0, panels
    if slabs > 1:
        slab, first, last = part, panels * part // parts, panels * (part + 1) // parts
    else:
        k_low, k_high = own_blocks(part, parts, k_size, lanes)
        if k_high - k_low == k_size:
            low, high = tiles * part // parts, tiles * (part + 1) // parts
    panel = np.empty(lines * along * widest, x.dtype)
    tile = np.empty((high - low) * ROWS * widest, x.dtype)
    for g in range(groups):
        k0 = k_low
        while k0 < k_high:
            vectors = block_vectors(k_size - k0, lanes)
            width = vectors * lanes
            real = min(width, k_size - k0)
            if first == last:
                tile[:] = 0
            for number in range(first, last):
                stack, piece = divmod(number, pieces)
                n, h = divmod(stack, stacks)
                h, w = h * lines, piece * along
                some, count = min(lines, h_size - h), min(along, w_size - w)
                at = n * dy_steps[0] + h * dy_steps[2] + w * dy_steps[3]
                at += (g * k_size + k0) * dy_steps[1]
                source, begin, jump, step = panel, 0, count * width, width
                if dy_steps[1] == 1 and real == width and dy_steps[3] * x.itemsize % _SETS:
                    # A few lines of the cache a pixel: read where they lie.
                    source, begin, jump, step = dy, at, dy_steps[2], dy_steps[3]
                else:
                    _panel(dy, dy_steps, at, some, count, real, width, panel)
                shift = n * x_steps[0] + h * x_steps[2] + w * x_steps[3]
                shift += g * c_size * x_steps[1]
                # Pixels that follow each other; of each, a tile reads a few channels.
                following = shift + some * count * x_steps[3]
                together = x_steps[3] if x_steps[1] == 1 and c_size == x_steps[3] else 0
                cells = some * count * together // (_LINE // x.itemsize)
                for t in range(low, high):
                    near, far = (t - low) * cells, (t - low + 1) * cells
                    for cell in range(near // (high - low), far // (high - low)):
                        fetch(x, following + cell * (_LINE // x.itemsize))
                    if number == first:
                        multiply(
                            vectors, x, rows, t * ROWS, shift, x_steps[2], x_steps[3],
                            source, begin, jump, step, some, count,
                            tile, (t - low) * ROWS * width,
                        )  # fmt: skip
                    else:
                        multiply_add(
                            vectors, x, rows, t * ROWS, shift, x_steps[2], x_steps[3],
                            source, begin, jump, step, some, count,
                            tile, (t - low) * ROWS * width,
                        )  # fmt: skip
            count = min(high * ROWS, m_size) - low * ROWS
            to = ((slab * groups + g) * k_size + k0) * m_size + low * ROWS
            transpose(tile, 0, width, count, real, dw, to, m_size)
            k0 += width


def _slabs(threads: int, tiles: int, blocks: int) -> int:
    """How many sums of all weights there are: one a thread where neither side divides evenly."""
    uneven = all(many < 4 * threads and many % threads for many in (tiles, blocks))
    return threads if uneven else 1


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as `convscape.kernels.cpu.gemm_weight.weight_grad`."""
    if all(w.padding == (0, 0) for w in geometry.windows):
        memory, steps = flat(x)
    else:
        memory, (sn, sh, sw) = padded(x, _padding(geometry), threads)
        steps = sn, 1, sh, sw
    given, given_steps = flat(dy)
    last = is_channels_last(x)
    plan = _plan(geometry, steps, dy.shape, given_steps, last, x.itemsize, threads)
    dw = workspace.empty(plan.slabs * prod(geometry.weight_shape), x.dtype)
    plan.fill(
        tuple(map(workspace.address, (memory, given, dw))), (len(memory), len(given), len(dw))
    )
    total = dw if plan.slabs == 1 else dw.reshape(plan.slabs, -1).sum(0)
    return weight_shaped(total, geometry, last)


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, x_shape: tuple[int, ...], dy_shape: tuple[int, ...], dtype: str,
    threads: int,
) -> Bound | None:  # fmt: skip
    """`weight_grad` of channels-last inputs without gaps, where all but the addresses is known."""
    kind = np.dtype(dtype)
    padding = _padding(geometry)
    n, c, h, w = x_shape
    pads = Pads.of(x_shape, _last(x_shape), padding, kind, threads)
    padded_shape = n, c, h + sum(padding[0]), w + sum(padding[1])
    plan = _plan(
        geometry, _last(padded_shape), dy_shape, _last(dy_shape), True, kind.itemsize, threads
    )
    if plan.slabs > 1:
        return None
    sizes = prod(padded_shape), prod(dy_shape), prod(geometry.weight_shape)

    def fill(x: int, dy: int, _packed: int, dw: int, _bias: object, _relu: object) -> None:
        if pads is None:
            plan.fill((x, dy, dw), sizes)
            return
        room = pads(x)  # lives as long as this call
        plan.fill((workspace.address(room), dy, dw), sizes)

    k, group, r, s = geometry.weight_shape
    return Bound.of((k, group, r, s), kind, fill)


def _last(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Elements from element to element of a channels-last array without gaps."""
    _, c, h, w = shape
    return h * w * c, 1, w * c, c


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a call is, arrays apart: arguments of the kernel, and the threads to use."""

    steps: tuple[int, ...]
    given_steps: tuple[int, ...]
    rows: Array
    grid: tuple[int, int, int]
    channels: tuple[int, int, int]
    lanes: int
    slabs: int
    threads: int
    like: Array

    def fill(self, places: tuple[int, ...], sizes: tuple[int, ...]) -> None:
        """Compute, given where x, dy and dw begin and how many elements they have."""
        launch(
            _weight_part, self.threads,
            places, sizes, self.steps, self.given_steps, self.rows, self.grid, self.channels,
            self.lanes, self.slabs, self.like,
        )  # fmt: skip


@lru_cache(maxsize=1024)
def _plan(
    geometry: Geometry, x_steps: tuple[int, ...], shape: tuple[int, ...],
    dy_steps: tuple[int, ...], last: bool, itemsize: int, threads: int,
) -> _Plan:  # fmt: skip
    """For an input with these steps, padding counted, and dy of this shape and with its steps."""
    groups, (k, c, r, s), lanes = geometry.groups, geometry.weight_shape, SIMD.lanes(itemsize)
    height, width = geometry.windows
    sn, sc, sh, sw = x_steps
    across = (r, sh * height.dilation), (s, sw * width.dilation)
    rows = _rows((*across, (c, sc)) if last else ((c, sc), *across))
    steps = sn, sc, sh * height.stride, sw * width.stride
    n, _, h, w = shape
    # Lines that follow each other are one.
    joined = all(axis[2] == w * axis[3] for axis in (steps, dy_steps))
    threads = threads if prod(shape) * c * r * s >= _SPLIT_FROM else 1
    slabs = _slabs(threads, len(rows) // ROWS, -(-k // groups // (WIDEST * lanes)))
    grid = (n, 1, h * w) if joined else (n, h, w)
    like = np.empty(0, f"f{itemsize}")
    channels = groups, c, k // groups
    return _Plan(steps, dy_steps, rows, grid, channels, lanes, slabs, threads, like)


def _padding(geometry: Geometry) -> tuple[tuple[int, int], tuple[int, int]]:
    height, width = geometry.windows
    return height.padding, width.padding


def _rows(axes: tuple[tuple[int, int], ...]) -> Array:
    """Where the weights' cells begin to read, whole tiles of them; axes are (cells, step)."""
    counts, steps = zip(*axes, strict=True)
    rows = np.asarray(steps) @ np.indices(counts).reshape(len(axes), -1)
    return np.pad(rows, (0, -len(rows) % ROWS), mode="edge")
