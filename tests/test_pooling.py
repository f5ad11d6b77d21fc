"""Pooling's kernels against slow loops in float64: every way of filling vectors, at its borders."""

from typing import Any

import numpy as np
import pytest
import torch

from convscape.arithmetic import Geometry
from convscape.arithmetic.average import divisors
from convscape.kernels import TABLE, Algorithm, Problem, choose, load, reference
from convscape.kernels.cpu.divide import alone
from convscape.kernels.cpu.pool_axes import backward
from convscape.kernels.cpu.pool_maximum_lines import lines_part, serves
from convscape.kernels.cpu.threads import bind
from tests.cases import LAYOUTS, POOLS, TOLERANCE, Case, channels_last, contiguous, error
from tests.test_kernels import DECK_INPUT

ROWS = [
    pytest.param(row, id=row.name)
    for row in TABLE
    if row.op == "pooling" and row.module is not None
]


def problem(geometry: Geometry, shape: Any, dtype: torch.dtype = torch.float32) -> Problem:
    name = str(dtype).removeprefix("torch.")
    return Problem("pooling", tuple(shape), name, "cpu", geometry)


@pytest.mark.parametrize("row", ROWS)
def test_the_decks_poolings_come_out_exactly(row: Algorithm) -> None:
    kernels, g = load(row), Geometry.of((5, 5), 3)
    x = DECK_INPUT[None, None]
    nine = (np.full(3, 3.0), np.full(3, 3.0))
    average = kernels.average(x, g, nine, 1)[0, 0]
    assert average.round(1).tolist() == [[1.7, 1.7, 1.7], [1.0, 1.2, 1.8], [1.1, 0.8, 1.3]]
    assert kernels.maximum(x, g, 1)[0][0, 0].tolist() == [[3, 3, 3], [3, 3, 3], [3, 2, 3]]


# One dtype is enough to see that two threads divide the work.
@pytest.mark.parametrize(
    ("threads", "dtype"), [(1, torch.float32), (1, torch.float64), (2, torch.float32)], ids=str
)
@pytest.mark.parametrize("case", POOLS, ids=lambda c: c.name)
def test_pooling_agrees_with_the_loops(case: Case, threads: int, dtype: torch.dtype) -> None:
    fast = load(choose(problem(case.geometry, case.shape, dtype)))
    g = Geometry(case.geometry.windows)
    x, _, _, _ = case.arrays(dtype)
    dy = torch.randn(*x.shape[:2], *g.outputs(case.spatial), dtype=dtype)
    counts = tuple(
        np.maximum(np.array(divisors(w, n, (0, 0)), float), 1)
        for w, n in zip(g.windows, case.spatial, strict=True)
    )
    for layout in LAYOUTS:
        xs, dys = layout(x).numpy(), layout(dy).numpy()
        y, where = fast.maximum(xs, g, threads)
        want, cells = reference.maximum(xs, g)
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(where, cells)
        np.testing.assert_array_equal(fast.maximum_only(xs, g, threads), want)
        tolerance = TOLERANCE[dtype]
        got = fast.maximum_grad(dys, where, g, case.spatial, threads)
        assert error(got, reference.maximum_grad(dys, cells, g, case.spatial)) < tolerance
        np.testing.assert_array_equal(fast.pick(xs, where, g, threads), y)
        got = fast.average(xs, g, counts, threads)
        assert error(got, reference.average(xs, g, counts)) < tolerance
        got = fast.average_grad(dys, g, counts, case.spatial, threads)
        assert error(got, reference.average_grad(dys, g, counts, case.spatial)) < tolerance


def test_a_maximum_of_only_minus_infinity_still_has_a_place() -> None:
    fast = load(choose(Problem("pooling", (1, 1, 4, 4), geometry=Geometry.of((4, 4), 2))))
    g = Geometry.of((4, 4), 2, padding=((1, 1), (1, 1)))
    x = np.full((1, 1, 4, 4), -np.inf)
    _, where = fast.maximum(x, g, 1)
    assert fast.maximum_grad(np.ones(where.shape), where, g, (4, 4), 1).sum() == where.size


def test_more_than_256_kernel_cells_keep_their_numbers() -> None:
    g = Geometry.of((40, 40), 20, 10)
    x = np.random.default_rng(0).normal(size=(1, 2, 40, 40))
    fast = load(choose(Problem("pooling", x.shape, geometry=g)))
    y, where = fast.maximum(x, g, 1)
    assert where.max() > 255
    np.testing.assert_array_equal(fast.pick(x, where, g, 1), y)


# Lines and channels shorter, as long and longer than vectors of 4, 8 and 16 lanes, and than four of
# them; planes that are a multiple of four, and not.
BORDERS = [
    ((1, 5, 7, 9), 3, 1, 1),
    ((2, 3, 6, 18), 3, 1, 1),
    ((1, 4, 5, 35), 3, 1, 1),
    # Outputs like the input, as one line a plane: asymmetric; and a plane too large for that.
    ((1, 6, 5, 13), (2, 4), 1, ((1, 0), (1, 2))),
    ((1, 5, 41, 51), 3, 1, 1),
    ((1, 6, 4, 70), (2, 5), 1, ((1, 0), (2, 1))),
    ((1, 4, 8, 14), 2, 2, 0),
    ((1, 5, 9, 33), 2, 2, 0),
    ((2, 4, 9, 67), 3, 2, 1),
    ((1, 9, 8, 34), 3, 2, 0),
    ((1, 4, 8, 64), 2, (1, 2), 0),
    ((1, 4, 9, 50), 3, 3, 0),
    ((1, 5, 9, 50), 2, 3, 1),
    ((1, 4, 7, 53), 5, 3, 2),
    ((1, 20, 7, 7), 7, 7, 0),
    ((1, 4, 6, 7), (6, 7), 1, 0),
    ((1, 16, 4, 4), 3, 2, 1),
    ((1, 70, 3, 3), 2, 1, 1),
    ((1, 300, 3, 4), 3, 2, 1),
    ((1, 528, 2, 3), 2, 2, 0),
    # One window on the whole plane; lines too long for a table of positions, with gaps between.
    ((1, 7, 5, 9), (5, 9), 1, 0),
    ((2, 3, 3, 20), (5, 22), 1, 1),
    ((2, 5, 7, 110), 3, 2, 1),
    # One plane, few outputs, and windows that leave cells unread, up to all but three of a line.
    ((1, 1, 37, 35), 3, 2, 1),
    ((3, 1, 3, 4), 2, 2, 0),
    ((1, 2, 9, 37), 2, 2, ((1, 0), (1, 1))),
    ((1, 4, 5, 40), 3, 50, 0),
    ((1, 9, 11, 120), 2, (4, 2), 0),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", [contiguous, channels_last], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), BORDERS, ids=str)
def test_every_way_of_filling_vectors_agrees_with_the_loops(
    shape: Any, kernel: Any, stride: Any, padding: Any, layout: Any, threads: int
) -> None:
    g = Geometry.of(shape[2:], kernel, stride, padding)
    fast = load(choose(problem(g, shape)))
    # Few distinct values: ties everywhere. Then NaN, Inf, and a corner of nothing but -Inf.
    plain = torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(1)).float()
    nasty = plain.clone()
    nasty.flatten()[::11] = torch.nan
    nasty.flatten()[5::17] = torch.inf
    nasty[..., : shape[2] // 2 + 1, : shape[3] // 2 + 1] = -torch.inf
    for x in (plain, nasty):
        xs = layout(x).numpy()
        y, where = fast.maximum(xs, g, threads)
        want, cells = reference.maximum(xs, g)
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(where, cells)
        np.testing.assert_array_equal(fast.maximum_only(xs, g, threads), want)
        dy = layout(torch.randn(y.shape)).numpy()
        got = fast.maximum_grad(dy, where, g, shape[2:], threads)
        assert error(got, reference.maximum_grad(dy, cells, g, shape[2:])) < 1e-6
    xs = layout(plain).numpy()
    for counted in ((0, 0), (9, 9)):  # divisors that differ at the border, and that do not
        counts = tuple(
            np.maximum(np.array(divisors(w, n, counted), float), 1)
            for w, n in zip(g.windows, shape[2:], strict=True)
        )
        got = fast.average(xs, g, counts, threads)
        assert error(got, reference.average(xs, g, counts)) < 1e-6
        got = fast.average_grad(dy, g, counts, shape[2:], threads)
        assert error(got, reference.average_grad(dy, g, counts, shape[2:])) < 1e-6


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1)], ids=str
)
@pytest.mark.parametrize("side", [5, 14, 17, 35, 50])
def test_a_share_writes_its_own_lines_and_no_others(
    side: int, kernel: int, stride: int, padding: int, parts: int
) -> None:
    g = Geometry.of((side, side), kernel, stride, padding)
    x = np.random.default_rng(0).normal(size=(1, 5, side, side)).astype(np.float32)
    _, where = reference.maximum(x, g)
    dy = torch.randn(where.shape, generator=torch.Generator().manual_seed(1)).numpy()
    where = where.astype(np.uint8)
    share: Any = lines_part
    _, both, _ = backward(g, (side, side))
    assert serves(*both)
    dx, known = np.full(x.size, np.nan, np.float32), np.zeros(x.size, bool)
    bind()
    for part in reversed(range(parts)):
        before = dx.copy()
        share(alone(part), parts, dy.ravel(), where.ravel(), dx, 5, *both)
        np.testing.assert_array_equal(dx[known], before[known])
        known = ~np.isnan(dx)
    want = reference.maximum_grad(dy, where, g, (side, side))
    assert error(dx.reshape(x.shape), want) < 1e-6


@pytest.mark.parametrize("layout", [contiguous, channels_last], ids=lambda f: f.__name__)
def test_one_nan_is_met_in_whichever_channel_it_is(layout: Any) -> None:
    g = Geometry.of((5, 5), 3, 2)
    for channel in range(100):
        x = torch.zeros(1, 100, 5, 5)
        x[0, channel, 2, 2] = torch.nan  # all four windows meet here
        fast = load(choose(problem(g, x.shape)))
        xs = layout(x).numpy()
        y, where = fast.maximum(xs, g, 1)
        want, cells = reference.maximum(xs, g)
        assert np.isnan(want[0, channel]).all()
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(where, cells)
        np.testing.assert_array_equal(fast.maximum_only(xs, g, 1), want)


def test_a_window_that_reads_nothing_gives_no_gradient_away() -> None:
    g = Geometry.of((2, 2), 2, 2, ((4, 4), (4, 4)), 8)
    x = torch.randn(8, 3, 2, 2).numpy()
    fast = load(choose(problem(g, x.shape)))
    y, where = fast.maximum(x, g, 1)
    np.testing.assert_array_equal(y, reference.maximum(x, g)[0])
    got = fast.maximum_grad(np.ones_like(y), where, g, (2, 2), 1)
    assert np.isfinite(got).all()
    assert got.sum() <= np.isfinite(y).sum()


def test_infinity_goes_only_where_its_window_is() -> None:
    g = Geometry.of((6, 40), 3, 1, 1)
    x = np.zeros((1, 4, 6, 40), np.float32)
    x[0, 1, 2, 20] = np.inf
    nine = (np.full(6, 3.0), np.full(40, 3.0))
    fast = load(choose(problem(g, x.shape)))
    y = fast.average(x, g, nine, 1)
    assert np.isinf(y).sum() == 9
    assert not np.isnan(y).any()
    dx = fast.average_grad(x, g, nine, (6, 40), 1)
    assert np.isinf(dx).sum() == 9
    assert not np.isnan(dx).any()
