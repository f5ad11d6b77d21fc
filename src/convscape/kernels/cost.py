"""What each algorithm costs: predicted nanoseconds of one thread, by which `choose` decides.

The weights were fitted on one core of an AMD EPYC (Zen 4, AVX-512, 116 GFLOP/s). The matrix
product's: 18 layers (2 to 112 cells a side, 3 to 2048 channels, batches 1 to 64); forward within
15 % of the measured times, weight gradients within 30 %, one within 40 %. Winograd's: 3x3 layers
within 15 %, 5x5 within 21 %; those of small maps and along one axis follow, by the number of their
points. What many kernels of a small map cost was fitted on a Xeon (3x3 layers of 2 to 10 cells a
side): of 60 problems the algorithm taken was the fastest or within 16 % of it. On 26 3x3 layers and
two threads of the Zen 4 it was the fastest or within 10 %, but for 3 of 78 problems. Along one axis
(20 layers, weights constant or not, one and two threads of a Zen 5) it was the fastest or within
8 %, but for 4 of 80 (at most 22 %). The matrix unit's were fitted on a Xeon (AMX), to its times
beside the matrix product's (79 layers, forward, constant and backward, one and two threads; a fifth
added, so that doubtful ones stay with the other): of 474 problems it was taken although slower, and
by more than 3 %, in 13; the one taken was slower than the other by more than 10 % in 21. Another
CPU is faster or slower, but seldom for one algorithm alone; `convscape bench explain --measure`
shows both numbers side by side.
"""

from math import prod

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.algorithm import Problem, geometry_of
from convscape.kernels.cpu.winograd_form import Form, axis_form, axis_tiles, form_of

LANES = 16
"""Of the widest vector; what idle lanes cost on a narrower one is less."""

DEEP = 32
"""Products that the matrix unit sums at once."""

_ROWS = 6  # of the register tile
_WIDE = 128  # pixels of an image from which on the weight gradient's columns are k, not c
_WIDE_WITHOUT = 48  # the same where no cell is padded
_CHUNK = 102  # tiles for which Winograd transforms the kernels once
_FAR = 1 << 15  # kernels of 3x3 cells that take more room than the caches nearby
_CALL = 16_000  # nanoseconds of a call of the matrix product, as fitted
_UNIT = 64_000  # nanoseconds of a call of the matrix unit, as fitted
_START = 20_000  # nanoseconds of a call before the first product


def rounded(value: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-value // step) * step


def matrix_product(problem: Problem) -> int:
    """Products with the rows and lanes that lie idle, packing the weights, moving the pixels."""
    geometry = geometry_of(problem)
    c, k = (m // geometry.groups for m in _summed_and_made(problem))
    outputs = geometry.outputs(problem.shape[2:])
    pixels, weights = problem.shape[0] * prod(outputs), prod(geometry.weight_shape)
    moved = pixels * (geometry.in_channels + geometry.out_channels)
    taps = problem.shape[0] * _taps(problem, outputs)
    if problem.direction == "weight_gradient":
        padded = any(w.padding != (0, 0) for w in geometry.windows)
        if prod(outputs) >= (_WIDE if padded else _WIDE_WITHOUT):
            cells = rounded(c * prod(geometry.kernel), _ROWS)
            products = pixels * cells * rounded(k, LANES) * geometry.groups
        else:
            products = taps * rounded(c, LANES) * rounded(k, _ROWS) * geometry.groups
        return int(0.0181 * products + 0.51 * weights + 0.16 * moved) + _CALL
    products = rounded(taps, _ROWS) * c * rounded(k, LANES) * geometry.groups
    packing = 0 if problem.constant else 0.385 * weights
    return int(0.0181 * products + packing + 0.054 * moved) + _CALL


def in_blocks(geometry: Geometry, channels: int, forward: bool) -> int:
    """Products of an output on the matrix unit, which takes them in whole blocks.

    Forward, cells of a line of the kernel that are neighbours in memory are one run.
    """
    rows, columns = geometry.kernel
    together = columns if forward and geometry.windows[1].dilation == 1 else 1
    return rows * columns // together * rounded(together * channels, DEEP)


def matrix_unit(problem: Problem) -> int:
    """Products in whole tiles, splitting pixels and weights into parts, writing the results."""
    if problem.direction == "weight_gradient":  # the matrix product's
        return matrix_product(problem) + 1
    geometry = geometry_of(problem)
    c, k = _summed_and_made(problem)
    outputs = geometry.outputs(problem.shape[2:])
    forward = problem.direction == "forward"
    deep = in_blocks(geometry, c, forward)
    pixels = problem.shape[0] * prod(outputs)
    made = problem.shape[0] * k * prod(outputs if forward else problem.shape[2:])
    weights = 0 if problem.constant else prod(geometry.weight_shape)
    split = 1.2 if forward else 1.6  # a weight; backwards its channels are swapped
    # A strided gradient is several short products, whose results lie apart.
    phases = prod(geometry.kernel) > 1 and any(w.stride > 1 for w in geometry.windows)
    times = 1.2 if phases and not forward else 1.0
    products = rounded(pixels, LANES) * deep * rounded(k, LANES)
    moved = 0.45 * pixels * deep + 0.55 * made + split * weights
    return int(times * (0.0101 * products + moved)) + _UNIT


def form_and_tiles(problem: Problem) -> tuple[Form, int]:
    """Winograd's form for a problem, and its tiles."""
    geometry, images, read = geometry_of(problem), problem.shape[0], problem.shape[2:]
    made = geometry.outputs(read)
    if problem.direction == "input_gradient":
        read, made = made, read
    form = form_of(geometry, images, read, made)
    return form, form.tiles(images, made)


def winograd(problem: Problem) -> int:
    """36, 16 or 9 products a tile; transforms of tiles and kernels."""
    geometry = geometry_of(problem)
    c, k = _summed_and_made(problem)
    form, tiles = form_and_tiles(problem)
    narrow = geometry.kernel[0] == 5  # fitted apart: fewer cells to transform, and longer kernels
    fewer = form.points / 36  # numbers that transforms write and read
    # A transform of one channel takes as long as that of a vector's sixteen.
    moved = tiles * sum(LANES * (m // LANES + m % LANES) for m in (c, k))
    if problem.direction == "weight_gradient":
        products = form.points * tiles * rounded(c, LANES) * rounded(k, _ROWS)
        product, move, weight = (0.0172, 6.3, 22.0) if narrow else (0.0201, 5.3, 8.9)
        return int(product * products + fewer * (move * moved + weight * c * k)) + _START
    chunks = max(1, -(-tiles // _CHUNK))
    products = form.points * chunks * rounded(-(-tiles // chunks), _ROWS) * c * rounded(k, LANES)
    # Kernels that lie far away cost what reading them does, others by their points.
    read, point = (4.18, 0.02) if c * k >= _FAR else (0.58, 0.12)
    product, move, weight = (
        (0.0165, 3.5, 15.0) if narrow else (0.0170, 5.7, read + point * form.points)
    )
    return int(product * products + fewer * move * moved + weight * chunks * c * k) + _START


def winograd_axis(problem: Problem) -> int:
    """6 or 7 products a tile of four outputs and piece of a kernel; transforms of both.

    The transforms cost by the number of their points what those of two axes do.
    """
    geometry = geometry_of(problem)
    if problem.direction == "weight_gradient":  # the matrix product's
        return matrix_product(problem) + 1
    c, k = _summed_and_made(problem)
    taps = max(geometry.kernel)
    points, pieces, _ = axis_form(taps)
    tiles = prod(axis_tiles(geometry, problem.shape))
    chunks = max(1, -(-tiles // _CHUNK))
    products = (
        points * pieces * chunks * rounded(-(-tiles // chunks), _ROWS) * c * rounded(k, LANES)
    )
    moved = tiles * sum(LANES * (m // LANES + m % LANES) for m in (c, k))
    kernels = 0 if problem.constant else chunks * (0.14 * points * pieces + 0.385 * taps)
    return int(0.0175 * products + 0.16 * points * moved + kernels * c * k) + _START


def direct(problem: Problem) -> int:
    """A sum over the kernel's cells, whose limit is reading them: nothing else competes with it."""
    return int(0.03 * problem.work) + _CALL


def memory_bound(problem: Problem) -> int:
    """Values read or written at 10 GB/s."""
    return int(0.4 * problem.work) + _START


def interpreted(problem: Problem) -> int:
    """An interpreted step."""
    return 100 * problem.work + _START


def _summed_and_made(problem: Problem) -> tuple[int, int]:
    """Channels of a sum, and those of the result: the input gradient swaps them."""
    geometry = geometry_of(problem)
    channels = geometry.in_channels, geometry.out_channels
    return channels[::-1] if problem.direction == "input_gradient" else channels


def _taps(problem: Problem, outputs: tuple[int, ...]) -> int:
    """Kernel cells that an image's outputs multiply; on a batch's small maps the real ones."""
    geometry = geometry_of(problem)
    every = prod(geometry.kernel) * prod(outputs)
    if problem.shape[0] < _ROWS or prod(outputs) > 256:
        return every
    real = 1
    for window, size, many in zip(geometry.windows, problem.shape[2:], outputs, strict=True):
        real *= sum(
            0 <= o * window.stride - window.padding[0] + tap * window.dilation < size
            for o in range(many)
            for tap in range(window.kernel)
        )
    return real if 10 * real < 9 * every else every
