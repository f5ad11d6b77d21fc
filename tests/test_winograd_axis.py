"""Winograd along one axis: its transforms, its error, and every way that lines and threads fall."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from convscape import Geometry, InputError, ops
from convscape.kernels import Problem, choose
from convscape.kernels.cpu import winograd_axis
from convscape.kernels.cpu import winograd_axis_points as points
from tests.cases import channels_last

conv = torch.nn.functional.conv2d


def rms_error(got: np.ndarray | torch.Tensor, exact: torch.Tensor) -> float:
    difference = torch.as_tensor(got).double() - exact
    return float(difference.abs().max() / exact.square().mean().sqrt())


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_transforms_of_four_cells_compute_a_correlation() -> None:
    spread, kernels, made = (
        np.array([list(line(*row)) for row in np.eye(size)])
        for line, size in (
            (points.input7_line, 7), (points.kernel4_line, 4), (points.output7_line, 7)
        )
    )  # fmt: skip
    sums = np.einsum("de,ge,ey->dgy", spread, kernels, made)
    wanted = [[[float(d == g + y) for y in range(4)] for g in range(4)] for d in range(7)]
    np.testing.assert_allclose(sums, wanted, atol=1e-14)


@pytest.mark.parametrize(
    ("kernel", "c", "k", "size"),
    [((1, 7), 192, 192, 17), ((7, 1), 768, 64, 23), ((3, 1), 384, 384, 8), ((1, 9), 160, 64, 40)],
)
def test_the_error_stays_below_a_hundred_thousandth_of_the_output(
    kernel: tuple[int, int], c: int, k: int, size: int
) -> None:
    padding = tuple(m // 2 for m in kernel)
    x, w = images(3, c, size, size), images(k, c, *kernel, seed=1)
    x64 = x.double().requires_grad_()
    y = conv(x64, w.double(), padding=padding)
    dy = images(*y.shape, seed=2)
    (dx,) = torch.autograd.grad(y, x64, dy.double())
    g = Geometry.of((size, size), kernel, 1, padding, in_channels=c, out_channels=k)
    assert rms_error(winograd_axis.forward(x.numpy(), w.numpy(), None, g, 2), y.detach()) < 1e-5
    got = winograd_axis.input_grad(dy.numpy(), w.numpy(), g, (size, size), 2)
    assert rms_error(got, dx) < 1e-5


# Few tiles and many channels are divided by channels, others by lines; 102 tiles are one chunk.
@pytest.mark.parametrize("shape", [(1, 3, 1), (1, 7, 30), (2, 25, 33), (9, 14, 40), (1, 230, 5)])
@pytest.mark.parametrize("k", [1, 16, 40, 112, 300])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_lines_and_channels_are_whole_however_they_fall(
    shape: tuple[int, int, int], k: int, threads: int
) -> None:
    n, lines, along = shape
    x, w, b = images(n, 6, along, lines), images(k, 6, 7, 1, seed=1) / 6, images(k, seed=2)
    g = Geometry.of((along, lines), (7, 1), 1, [(3, 3), (0, 0)], in_channels=6, out_channels=k)
    want = conv(x.double(), w.double(), b.double(), padding=(3, 0)).clamp(0, 3.0)
    for made in (None, winograd_axis.pack(w.numpy(), g, 4 - threads)):
        y = winograd_axis.forward(x.numpy(), w.numpy(), b.numpy(), g, threads, 3.0, made)
        assert rms_error(y, want) < 1e-5


@pytest.mark.parametrize("kernel", [(1, 3), (1, 7), (6, 1)])
def test_constant_weights_give_the_same_numbers(kernel: tuple[int, int]) -> None:
    for x in (images(2, 20, 14, 15), channels_last(images(2, 20, 14, 15))):
        w, b = images(72, 20, *kernel), images(72)
        given = b, 1, [m // 2 for m in kernel]
        constant = ops.conv2d(x, ops.ConstantWeight(w), *given, relu=True, algorithm="winograd1d")
        assert torch.equal(constant, ops.conv2d(x, w, *given, relu=True, algorithm="winograd1d"))


def test_a_nan_spreads_over_no_more_than_the_tiles_that_read_it() -> None:
    x, w = images(1, 16, 5, 24), images(16, 16, 1, 7)
    x[0, 3, 2, 9] = torch.nan
    want = conv(x, w, padding=(0, 3)).isnan()
    spread = ops.conv2d(x, w, padding=(0, 3), algorithm="winograd1d").isnan()
    assert bool((spread | ~want).all())  # nothing that should be NaN is a number
    assert int(spread.sum()) <= 16 * 12
    assert torch.equal(ops.conv2d(x, w, padding=(0, 3), algorithm="direct").isnan(), want)


def test_what_it_refuses_and_why() -> None:
    def refused(kernel: tuple[int, int] = (1, 7), dtype: str = "float32", **given: int) -> str:
        settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | given
        groups = settings.pop("groups")
        g = Geometry.of((17, 17), kernel, **settings, in_channels=8, out_channels=8, groups=groups)
        with pytest.raises(InputError) as raised:
            choose(Problem("convolution", (1, 8, 17, 17), dtype, geometry=g), "winograd1d")
        return str(raised.value)

    assert "3 cells or more along one axis" in refused((3, 3))
    assert "3 cells or more along one axis" in refused((1, 2))
    assert "at stride 1" in refused(stride=2)
    assert "at stride 1" in refused(dilation=2)
    assert "only along the kernel" in refused(padding=3)
    assert "not in groups" in refused(groups=2)
    assert "in float32" in refused(dtype="float64")


def test_it_is_chosen_for_outputs_and_input_gradients_alone() -> None:
    g = Geometry.of((17, 17), (1, 7), 1, [(0, 0), (3, 3)], in_channels=128, out_channels=192)
    problem = Problem("convolution", (1, 128, 17, 17), geometry=g)
    for constant in (False, True):
        assert choose(replace(problem, constant=constant)).name == "winograd1d"
    assert choose(replace(problem, direction="input_gradient")).name == "winograd1d"
    assert choose(replace(problem, direction="weight_gradient")).name == "gemm"
    few = Geometry.of((64, 64), (1, 7), in_channels=3, out_channels=16)
    assert choose(Problem("convolution", (1, 3, 64, 64), geometry=few)).name == "gemm"
