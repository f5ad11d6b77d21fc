"""Depthwise convolution's paths: tiles and borders, blocks of channels, both orders of memory."""

import numpy as np
import pytest
import torch

from convscape.arithmetic import Geometry, Window
from convscape.kernels import load, reference
from convscape.kernels.choose import choose
from convscape.kernels.cpu import depthwise
from convscape.kernels.cpu import depthwise_plan as plans
from convscape.kernels.cpu.depthwise_lines import TILES
from tests.cases import DTYPES, TOLERANCE, Case, channels_last, contiguous, error
from tests.test_kernels import problem

SAME = ((1, 1), (1, 1))

# Blocks of channels: less than a vector, one, one with a rest, several. Widths: less than a tile,
# one of each size, tiles between borders. Rows in plain order: one chunk, and several.
PATHS = (
    Case("one_pixel", 2, 1, (1, 1), 1, (3, 3), (1, 1), SAME, groups=1),
    Case("less_than_a_vector", 2, 7, (5, 2), 7, (3, 3), (2, 2), SAME, groups=7),
    Case("one_vector", 3, 16, (5, 3), 16, (3, 3), (2, 2), SAME, groups=16),
    Case("one_and_a_rest", 2, 17, (3, 16), 17, (3, 3), (1, 1), SAME, groups=17),
    Case("inner_tiles", 1, 33, (4, 30), 33, (3, 3), (1, 1), SAME, groups=33),
    Case("inner_tiles_stride", 1, 16, (5, 45), 16, (3, 3), (2, 2), SAME, groups=16),
    Case("many_blocks", 2, 145, (3, 7), 145, (3, 3), (1, 1), SAME, groups=145),
    Case("shared_blocks", 1, 17, (40, 41), 17, (3, 3), (1, 1), SAME, groups=17),
    Case("five", 1, 18, (7, 17), 18, (5, 5), (2, 1), ((2, 2), (0, 4)), groups=18),
    Case("five_stride", 1, 16, (9, 31), 16, (5, 5), (2, 2), ((2, 2), (2, 2)), groups=16),
    Case("seven", 1, 17, (8, 24), 17, (7, 7), (1, 1), ((3, 3), (3, 3)), groups=17),
    Case("beyond", 1, 16, (7, 9), 16, (2, 1), (3, 2), ((4, 0), (0, 0)), groups=16),
    Case("dilated", 1, 16, (9, 20), 16, (3, 3), (2, 2), ((2, 1), (2, 2)), (2, 3), groups=16),
    Case("several_chunks", 1, 9, (90, 60), 9, (3, 3), (1, 1), SAME, groups=9),
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", PATHS, ids=lambda c: c.name)
def test_every_path_agrees_with_the_float64_loops(case: Case, dtype: torch.dtype) -> None:
    row, g = choose(problem(case, "convolution", dtype), "depthwise"), case.geometry
    kernels = load(row)
    x, w, b, dy = case.arrays(torch.float64)
    exact = (
        reference.forward(x.numpy(), w.numpy(), b.numpy(), g),
        reference.input_grad(dy.numpy(), w.numpy(), g, case.spatial),
        reference.weight_grad(x.numpy(), dy.numpy(), g),
    )
    x, w, b, dy = (t.to(dtype) for t in (x, w, b, dy))
    for layout in (contiguous, channels_last):
        xs, dys = layout(x).numpy(), layout(dy).numpy()
        for threads in (1, 2):
            results = (
                kernels.forward(xs, w.numpy(), b.numpy(), g, threads),
                kernels.input_grad(dys, w.numpy(), g, case.spatial, threads),
                kernels.weight_grad(xs, dys, g, threads),
            )
            for got, want in zip(results, exact, strict=True):
                assert error(got, want) < TOLERANCE[dtype], (layout.__name__, threads)


def test_long_sums_keep_their_digits() -> None:
    case = Case("long", 8, 16, (112, 112), 16, (3, 3), (1, 1), SAME, groups=16)
    x, _, _, dy = (t.abs() for t in case.arrays(torch.float32))
    kernels = load(choose(problem(case, "convolution"), "depthwise"))
    weight = torch.zeros(16, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.conv2d(x.double(), weight, padding=1, groups=16)
    (want,) = torch.autograd.grad(y, weight, dy.double())
    for layout in (contiguous, channels_last):
        got = kernels.weight_grad(layout(x).numpy(), layout(dy).numpy(), case.geometry, 1)
        assert error(got, want) < 2e-6


def test_negative_padding_crops() -> None:
    windows = (Window(3, 1, padding=(-1, 2)), Window(3, 2, padding=(3, -2)))
    g = Geometry(windows, 20, 20, 20)
    x, w = np.random.default_rng(0).normal(size=(1, 20, 9, 12)), np.ones((20, 1, 3, 3))
    y = depthwise.forward(x, w, None, g, 1)
    assert error(y, reference.forward(x, w, None, g)) < 1e-12
    dx, dw = depthwise.input_grad(y, w, g, (9, 12), 1), depthwise.weight_grad(x, y, g, 1)
    assert error(dx, reference.input_grad(y, w, g, (9, 12))) < 1e-12
    assert error(dw, reference.weight_grad(x, y, g)) < 1e-12


def test_a_nan_stays_in_the_windows_that_read_it() -> None:
    case = Case("nan", 1, 17, (9, 16), 17, (3, 3), (1, 1), SAME, groups=17)
    x, w, _, _ = case.arrays(torch.float32)
    x[0, 3, 5, 6], x[0, 16, 0, 15] = torch.nan, torch.inf
    kernels = load(choose(problem(case, "convolution"), "depthwise"))
    want = torch.nn.functional.conv2d(x, w, padding=1, groups=17)
    for layout in (contiguous, channels_last):
        got = kernels.forward(layout(x).numpy(), w.numpy(), None, case.geometry, 1)
        np.testing.assert_array_equal(np.isfinite(got), want.isfinite().numpy())
        np.testing.assert_array_equal(np.isnan(got), want.isnan().numpy())


def test_an_infinity_stays_in_the_kernel_cells_that_meet_it() -> None:
    # 12 outputs end within a tile: what completes it must not meet the last column.
    case = Case("inf", 1, 17, (3, 14), 17, (3, 3), (1, 1), ((0, 0), (0, 0)), groups=17)
    x, _, _, dy = case.arrays(torch.float32)
    x[:, :, :, 13] = torch.inf
    kernels = load(choose(problem(case, "convolution"), "depthwise"))
    for layout in (contiguous, channels_last):
        dw = kernels.weight_grad(layout(x).numpy(), layout(dy).numpy(), case.geometry, 1)
        assert np.isfinite(dw[..., :2]).all()
        assert not np.isfinite(dw[..., 2]).any()


@pytest.mark.parametrize("channels", [7, 16, 37])
def test_weights_arranged_before_give_the_same_result(channels: int) -> None:
    case = Case("constant", 2, channels, (5, 9), channels, (3, 3), (2, 1), SAME, groups=channels)
    x, w, b, _ = (t.numpy() for t in case.arrays(torch.float32))
    arranged = depthwise.pack(w, case.geometry, 1)
    for layout in (contiguous, channels_last):
        given = layout(torch.from_numpy(x)).numpy(), w, b, case.geometry, 2, 6.0
        np.testing.assert_array_equal(
            depthwise.forward(*given, arranged), depthwise.forward(*given)
        )


@pytest.mark.parametrize("threads", [2, 3, 7])  # 3 blocks of channels, with 8 lanes
def test_shares_of_blocks_and_of_lines_sum_alike(threads: int) -> None:
    case = Case("shared", 1, 19, (40, 50), 19, (3, 3), (1, 1), SAME, groups=19)
    x, _, _, dy = case.arrays(torch.float64)
    exact = reference.weight_grad(x.numpy(), dy.numpy(), case.geometry)
    for layout in (contiguous, channels_last):
        dw = depthwise.weight_grad(layout(x).numpy(), layout(dy).numpy(), case.geometry, threads)
        assert error(dw, exact) < TOLERANCE[torch.float64]


@pytest.mark.parametrize(
    ("adjoint", "exact"), [(False, False), (True, False), (False, True)], ids=str
)
@pytest.mark.parametrize("case", PATHS, ids=lambda c: c.name)
def test_a_plan_writes_every_output_once(case: Case, adjoint: bool, exact: bool) -> None:
    way = plans.plan(case.geometry, case.spatial, adjoint, TILES, exact)
    written: list[int] = []
    for cell, apart, real, tiles, _, _, number, *_ in way.segments.tolist():
        count = (tiles - 1) * TILES[number].pixels + real
        written += range(cell, cell + count * apart, apart)
    assert sorted(written) == list(range(way.shape[3]))
    assert len(set(way.order.tolist())) == len(way.order)
