"""Depthwise convolution's paths: tiles and borders, blocks of channels, both orders of memory."""

import numpy as np
import pytest
import torch

from convscape.arithmetic import Geometry, Window
from convscape.kernels import load, reference
from convscape.kernels.choose import choose
from convscape.kernels.cpu import depthwise
from convscape.kernels.cpu import depthwise_plan as plans
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
    Case("five", 1, 18, (7, 17), 18, (5, 5), (2, 1), ((2, 2), (0, 4)), groups=18),
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


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("case", PATHS, ids=lambda c: c.name)
def test_a_plan_writes_every_output_once(case: Case, adjoint: bool) -> None:
    way = plans.plan(case.geometry, case.spatial, adjoint, (7, 4))
    written: list[int] = []
    for cell, apart, real, tiles, _, _ in way.segments.tolist():
        count = (tiles - 1) * way.pixels + real
        written += range(cell, cell + count * apart, apart)
    assert sorted(written) == list(range(way.shape[3]))
    assert len(set(way.order.tolist())) == len(way.order)
