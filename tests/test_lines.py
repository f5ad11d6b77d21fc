"""Lines of an image laid out for kernels whose lanes are pixels, and the sums along them."""

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch.nn import functional

from convscape import Geometry, Window
from convscape.kernels.cpu import gemm, gemm_lines, gemm_weight_lines
from convscape.kernels.cpu.layout import flat
from convscape.kernels.cpu.lines import arrange, lay_out
from convscape.kernels.cpu.simd import SIMD
from tests.cases import TOLERANCE, error


@pytest.mark.parametrize("order", ["plain", "strided", "last"])
@pytest.mark.parametrize(
    ("windows", "spatial"),
    [
        ((Window(3, 1, 1, 1, (1, 1)), Window(3, 1, 1, 1, (1, 1))), (5, 40)),
        ((Window(3, 2, 1, 1, (1, 0)), Window(7, 2, 1, 1, (3, 3))), (9, 71)),
        ((Window(2, 3, 2, 1, (0, 2)), Window(4, 3, 2, 1, (5, 1))), (8, 50)),
        ((Window(2, 1), Window(3, 5)), (4, 43)),  # cells that no kernel cell meets
        ((Window(2, 2, 1, 1, (-1, 0)), Window(3, 2, 1, 1, (-3, -2))), (7, 33)),  # cropped
    ],
)
def test_every_cell_of_the_kernel_meets_a_lines_outputs_at_one_distance(
    windows: tuple[Window, Window], spatial: tuple[int, int], order: str
) -> None:
    geometry, lanes = Geometry(windows, 3, 1), SIMD.lanes(4)
    x = np.random.default_rng(0).standard_normal((2, 3, *spatial)).astype(np.float32)
    given = {
        "plain": x,
        "strided": np.repeat(x, 2, axis=3)[..., ::2],
        "last": np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    }[order]
    plan, phases, distances = arrange(geometry, spatial, lanes)
    (_, height), (_, width) = (
        (w.stride, w.output(n)) for w, n in zip(windows, spatial, strict=True)
    )
    many = (height - 1) * plan[2] + plan[4]
    step = plan[6]
    assert step == 3 * len(phases) * plan[5]
    lines = np.full(many * step, np.nan, np.float32)
    memory, strides = flat(given)
    kernel: Any = lay_out
    fill = njit(kernel.py_func)
    fill(memory, strides, x.shape[1:], 1, plan, phases, 0, many, lines)
    assert not np.isnan(lines).any()  # whole vectors are read
    down, across = windows
    for h in range(height):
        for (c, r, s), distance in zip(np.ndindex(3, *geometry.kernel), distances, strict=True):
            got = lines[h * plan[2] * step + distance :][:width]
            row = h * down.stride + r * down.dilation - down.padding[0]
            columns = np.arange(width) * across.stride + s * across.dilation - across.padding[0]
            inside = (columns >= 0) & (columns < spatial[1]) & (0 <= row < spatial[0])
            want = np.where(inside, x[1, c, row % spatial[0], columns % spatial[1]], 0)
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kernel", "stride", "side", "width"), [(3, 1, 70, 78), (3, 2, 131, 95), (7, 2, 250, 227)]
)
def test_lines_that_a_share_lays_out_in_turn_make_one_convolution(
    kernel: int, stride: int, side: int, width: int, dtype: Any, threads: int
) -> None:
    geometry = Geometry.of(
        (side, width), kernel, stride, kernel // 2, in_channels=3, out_channels=9
    )
    rng = np.random.default_rng(0)
    x, w, b = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((2, 3, side, width), geometry.weight_shape, 9)
    )
    dy = rng.standard_normal((2, *geometry.output_shape((side, width)))).astype(dtype)
    assert gemm_lines.fits(geometry, dy.shape[3], x.itemsize)
    assert gemm_weight_lines.fits(geometry, dy.shape[2:], x.itemsize)
    exact = torch.tensor(w).double().requires_grad_()
    y = functional.conv2d(
        torch.tensor(x).double(), exact, torch.tensor(b).double(), stride, kernel // 2
    )
    dw = torch.autograd.grad(y, exact, torch.tensor(dy).double())[0]
    tolerance = TOLERANCE[torch.float32 if dtype is np.float32 else torch.float64]
    assert error(gemm.forward(x, w, b, geometry, threads), y.detach()) < tolerance
    rectified = gemm.forward(x, w, b, geometry, threads, relu=6.0)
    assert error(rectified, y.detach().clamp(0, 6)) < tolerance
    assert error(gemm.weight_grad(x, dy, geometry, threads), dw) < tolerance


def test_what_lies_behind_a_line_reaches_no_sum() -> None:
    # Vectors end behind it: there lie cells that no output reads, or the next line.
    geometry = Geometry.of((6, 33), 3, 1, 0, in_channels=2, out_channels=5)
    x, dy = np.ones((1, 2, 6, 33), np.float32), np.ones((1, 5, 4, 31), np.float32)
    dy[0, :, 1] = np.inf
    x[0, 1, 5] = np.nan
    dw = gemm.weight_grad(x, dy, geometry, 1)
    assert np.isnan(dw[:, 1, 2]).all()
    assert np.isinf(dw[:, 0]).all()
    assert np.isinf(dw[:, 1, :2]).all()
    cut = Geometry.of((4, 64), (1, 3), (1, 2), in_channels=3, out_channels=4)
    x = np.ones((1, 3, 4, 64), np.float32)
    x[..., 63] = np.nan  # read by none
    dy = np.ones((1, 4, 4, 31), np.float32)
    np.testing.assert_array_equal(gemm.weight_grad(x, dy, cut, 1), np.full((4, 3, 1, 3), 124))
