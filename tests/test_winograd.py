"""Winograd's transforms proved on symbols, and their error measured."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy
import torch

from convscape import Geometry, InputError, ops
from convscape.kernels import Problem, choose, load
from convscape.kernels.cpu import winograd
from convscape.kernels.cpu import winograd_points as points
from convscape.kernels.cpu.winograd_form import form_of

ROOT = sympy.sqrt(2)


def exact(line: Any, *values: Any) -> list[Any]:
    """A line transform with an exact root; the decimal constants become the fractions they are."""
    return [sympy.nsimplify(sympy.expand(v), rational=False) for v in line(*values, root=ROOT)]


@pytest.mark.parametrize(
    ("kernel_line", "side", "output_line", "edge"),
    [
        (points.kernel3_line, 3, points.output4_line, 4),
        (points.kernel5_line, 5, points.output2_line, 2),
    ],
)
def test_the_transforms_compute_a_correlation_exactly(
    kernel_line: Any, side: int, output_line: Any, edge: int
) -> None:
    d, g = sympy.symbols("d:6"), sympy.symbols(f"g:{side}")
    products = [
        a * b for a, b in zip(exact(points.input_line, *d), exact(kernel_line, *g), strict=True)
    ]
    outputs = exact(output_line, *products)
    assert len(outputs) == edge
    for i, y in enumerate(outputs):
        assert sympy.expand(y - sum(d[i + r] * g[r] for r in range(side))) == 0


def test_three_products_an_axis_make_a_whole_map() -> None:
    d, g = sympy.symbols("d:2"), sympy.symbols("g:3")
    inputs, kernels = points.input_map_line(*d), points.kernel_map_line(*g)
    made = points.output_map_line(*(a * b for a, b in zip(inputs, kernels, strict=True)))
    padded = (0, *d, 0)
    wanted = [sum(padded[i + r] * g[r] for r in range(3)) for i in range(2)]
    assert [sympy.expand(a - b) for a, b in zip(made, wanted, strict=True)] == [0, 0]


@pytest.mark.parametrize(
    ("line", "size", "adjoint", "results"),
    [
        (points.output2_few_line, 4, points.output2_few_adjoint_line, 2),
        (points.kernel3_few_line, 3, points.kernel3_few_adjoint_line, 4),
        (points.output_map_line, 3, points.output_map_adjoint_line, 2),
        (points.kernel_map_line, 3, points.kernel_map_adjoint_line, 3),
        (points.output4_line, 6, points.output4_adjoint_line, 4),
        (points.kernel3_line, 3, points.kernel3_adjoint_line, 6),
        (points.output2_line, 6, points.output2_adjoint_line, 2),
        (points.kernel5_line, 5, points.kernel5_adjoint_line, 6),
    ],
)
def test_the_weight_gradients_transforms_are_the_transposes(
    line: Any, size: int, adjoint: Any, results: int
) -> None:
    matrix = np.array([line(*row) for row in np.eye(size)])
    transposed = np.array([adjoint(*row) for row in np.eye(results)])
    np.testing.assert_allclose(transposed, matrix.T, atol=1e-15)


@pytest.mark.parametrize(
    ("side", "c", "k", "size"), [(3, 512, 64, 14), (5, 512, 64, 14), (3, 128, 128, 112)]
)
def test_the_error_stays_below_a_hundred_thousandth_of_the_output(
    side: int, c: int, k: int, size: int
) -> None:
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(2, c, size, size, generator=generator)
    w = torch.randn(k, c, side, side, generator=generator)
    g = Geometry.of((size, size), side, 1, side // 2, in_channels=c, out_channels=k)
    kernels = load(choose(Problem("convolution", tuple(x.shape), geometry=g), "winograd"))
    x64, w64 = x.double().requires_grad_(), w.double().requires_grad_()
    y = torch.nn.functional.conv2d(x64, w64, padding=side // 2)
    dy = torch.randn(y.shape, generator=generator)
    dx, dw = torch.autograd.grad(y, (x64, w64), dy.double())
    results = (
        (kernels.forward(x.numpy(), w.numpy(), None, g, 1), y),
        (kernels.input_grad(dy.numpy(), w.numpy(), g, (size, size), 1), dx),
        (kernels.weight_grad(x.numpy(), dy.numpy(), g, 1), dw),
    )
    for got, want in results:
        exact_values = want.detach().numpy()
        difference = np.abs(got - exact_values)
        assert difference.max() / np.sqrt((exact_values**2).mean()) < 1e-5


# A tile of registers holds six of the image's; what is left over takes two or four. A chunk has at
# most 264 tiles of so few channels: one, or two and three of about one size.
@pytest.mark.parametrize(
    ("tiles", "c", "k"),
    [*((n, 65, 70) for n in range(1, 9)), *((n, 5, 7) for n in (201, 264, 265, 270, 529, 533))],
)
def test_any_number_of_tiles_is_right(tiles: int, c: int, k: int) -> None:
    x, w = torch.randn(1, c, 4, 4 * tiles), torch.randn(k, c, 3, 3)
    g = Geometry.of((4, 4 * tiles), 3, 1, 1, in_channels=c, out_channels=k)
    want = torch.nn.functional.conv2d(x.double(), w.double(), padding=1)
    for threads in (1, 2):
        y = torch.from_numpy(winograd.forward(x.numpy(), w.numpy(), None, g, threads))
        torch.testing.assert_close(y.double(), want, atol=1e-3, rtol=0)


def test_four_products_an_axis_make_two_outputs_of_a_kernel_of_three() -> None:
    d, g = sympy.symbols("d:4"), sympy.symbols("g:3")
    inputs, kernels = (
        [sympy.nsimplify(v, rational=True) for v in line]
        for line in (points.input4_line(*d), points.kernel3_few_line(*g))
    )
    made = points.output2_few_line(*(a * b for a, b in zip(inputs, kernels, strict=True)))
    for i, y in enumerate(made):
        assert sympy.expand(y - sum(d[i + r] * g[r] for r in range(3))) == 0


# Whole maps of four cells have 9 points, tiles of other small ones 16.
@pytest.mark.parametrize(
    ("images", "size", "points_of_a_tile"),
    [
        *((n, (2, 2), 9) for n in (1, 2, 5, 7, 64, 250)), (1, (7, 7), 16), (1, (9, 10), 16),
        (3, (5, 6), 16), (1, (1, 30), 16), (8, (2, 1), 16),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_small_maps_are_right_in_all_directions(
    images: int, size: tuple[int, int], points_of_a_tile: int, form: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(images)
    x = torch.randn(images, 65, *size, generator=generator).contiguous(memory_format=form)
    w = torch.randn(70, 65, 3, 3, generator=generator).contiguous(memory_format=form)
    bias = torch.randn(70, generator=generator)
    g = Geometry.of(size, 3, 1, 1, in_channels=65, out_channels=70)
    assert form_of(g, images, size, size).points == points_of_a_tile
    x64, w64 = x.double().requires_grad_(), w.double().requires_grad_()
    y = torch.nn.functional.conv2d(x64, w64, padding=1)
    dy = torch.randn(y.shape, generator=generator).contiguous(memory_format=form)
    dx, dw = torch.autograd.grad(y, (x64, w64), dy.double())
    clipped = (y + bias.double().reshape(-1, 1, 1)).relu()
    for threads in (1, 2):
        results = (
            (winograd.forward(x.numpy(), w.numpy(), None, g, threads), y),
            (winograd.forward(x.numpy(), w.numpy(), bias.numpy(), g, threads, True), clipped),
            (winograd.input_grad(dy.numpy(), w.numpy(), g, size, threads), dx),
            (winograd.weight_grad(x.numpy(), dy.numpy(), g, threads), dw),
        )
        for got, want in results:
            exact_values = want.detach().numpy()
            error = np.abs(got - exact_values).max() / np.sqrt((exact_values**2).mean())
            assert error < 5e-6


@pytest.mark.parametrize(
    ("size", "padding", "points_of_a_tile"),
    [((2, 2), 1, 9), ((2, 2), 2, 16), ((2, 3), 1, 16), ((4, 4), 0, 16), ((14, 14), 1, 36)],
)
def test_only_maps_of_four_cells_padded_by_one_are_whole_maps(
    size: tuple[int, int], padding: int, points_of_a_tile: int
) -> None:
    g = Geometry.of(size, 3, 1, padding, in_channels=3, out_channels=4)
    assert form_of(g, 1, size, g.outputs(size)).points == points_of_a_tile
    x, w = torch.randn(3, 3, *size), torch.randn(4, 3, 3, 3)
    want = torch.nn.functional.conv2d(x.double(), w.double(), padding=padding)
    y = torch.from_numpy(winograd.forward(x.numpy(), w.numpy(), None, g, 1))
    torch.testing.assert_close(y.double(), want, atol=1e-4, rtol=0)
    dx = winograd.input_grad(y.numpy(), w.numpy(), g, size, 1)
    wanted = torch.nn.functional.conv_transpose2d(y.double(), w.double(), padding=padding)
    torch.testing.assert_close(torch.from_numpy(dx).double(), wanted, atol=1e-3, rtol=0)


def test_a_batch_of_whole_maps_is_left_to_winograd_in_all_directions() -> None:
    g = Geometry.of((2, 2), 3, 1, 1, in_channels=512, out_channels=512)
    problem = Problem("convolution", (64, 512, 2, 2), geometry=g)
    for direction in ("forward", "input_gradient", "weight_gradient"):
        assert choose(replace(problem, direction=direction)).name == "winograd"


@pytest.mark.parametrize("channels", [40, 300])
def test_the_weight_gradient_lies_as_the_images_do(channels: int) -> None:
    # Three images of many channels take more than one chunk: the second is added to the first.
    x, dy = torch.randn(3, channels, 28, 26), torch.randn(3, channels + 3, 28, 26)
    shape = channels + 3, channels, 3, 3
    g = Geometry.of((28, 26), 3, 1, 1, in_channels=channels, out_channels=channels + 3)
    given = dy.double(), x.double(), torch.zeros(shape, dtype=torch.float64)
    options = None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
    exact = torch.ops.aten.convolution_backward(*given, *options)[1]
    for form in (torch.contiguous_format, torch.channels_last):
        images = [t.contiguous(memory_format=form).numpy() for t in (x, dy)]
        dw = torch.from_numpy(winograd.weight_grad(images[0], images[1], g, 2))
        assert dw.is_contiguous(memory_format=form)
        assert (dw - exact).abs().max() / exact.pow(2).mean().sqrt() < 1e-5


def test_a_nan_spreads_over_its_tile_and_gemm_keeps_it_local() -> None:
    x, w = torch.randn(1, 16, 12, 12), torch.randn(16, 16, 3, 3)
    x[0, 3, 5, 6] = torch.nan
    want = torch.nn.functional.conv2d(x, w, padding=1).isnan()
    spread = ops.conv2d(x, w, padding=1, algorithm="winograd").isnan()
    assert torch.equal(ops.conv2d(x, w, padding=1, algorithm="direct").isnan(), want)
    assert bool((spread | ~want).all())  # nothing that should be NaN is a number
    assert spread.sum() <= 16 * 4 * 4 * 4


def test_float64_is_left_to_the_plain_sum() -> None:
    g = Geometry.of((8, 8), 3, in_channels=64, out_channels=64)
    with pytest.raises(InputError, match="computes in float32"):
        choose(Problem("convolution", (8, 64, 8, 8), "float64", geometry=g), "winograd")


def test_the_weight_gradient_keeps_its_digits_over_many_tiles() -> None:
    # Few channels and many tiles: each core adds them all to sums of its own.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 32, 96, 96, generator=generator)
    dy = torch.randn(8, 40, 96, 96, generator=generator)
    g = Geometry.of((96, 96), 3, 1, 1, in_channels=32, out_channels=40)
    given = dy.double(), x.double(), torch.zeros(40, 32, 3, 3, dtype=torch.float64)
    options = None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
    exact = torch.ops.aten.convolution_backward(*given, *options)[1]
    for threads in (1, 2):
        dw = winograd.weight_grad(x.numpy(), dy.numpy(), g, threads)
        worst = (torch.from_numpy(dw).double() - exact).abs().max()
        assert worst / exact.pow(2).mean().sqrt() < 1e-5
