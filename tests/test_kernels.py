"""Every algorithm of the table against slow loops in float64; the laws; the deck's numbers."""

import doctest
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convscape import ops
from convscape.arithmetic import Geometry, InputError, Window
from convscape.kernels import TABLE, Algorithm, Problem, choose, explain, load, reference
from convscape.kernels.cpu import amx_unit, winograd
from tests.cases import CASES, DTYPES, LAYOUTS, TOLERANCE, Case, error

DECK_INPUT = np.array(
    [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]], float
)
DECK_KERNEL = np.array([[0, 1, 2], [2, 2, 0], [0, 1, 2]], float)

OURS = [row for row in TABLE if row.module is not None]


def rows(op: str) -> list[Any]:
    return [pytest.param(row, id=row.name) for row in OURS if row.op == op]


def problem(case: Case, op: str, dtype: torch.dtype = torch.float32) -> Problem:
    name = str(dtype).removeprefix("torch.")
    return Problem(op, case.shape, name, "cpu", case.geometry)


TRIED = [
    pytest.param(row, case, dtype, id=f"{row.name}-{case.name}-{dtype}".replace("torch.", ""))
    for row in OURS
    for case in CASES
    for dtype in DTYPES
    if row.op == "convolution"
    and row.name != "reference"
    and row.refuses(problem(case, "convolution", dtype)) is None
]
"""Every compiled algorithm with every case and dtype that it takes."""


@cache
def exact(case: Case) -> tuple[np.ndarray, ...]:
    """y, dx and dw by the loops, in float64, of the case's float64 arrays."""
    x, w, b, dy = (t.numpy() for t in case.arrays(torch.float64))
    g = case.geometry
    return (
        reference.forward(x, w, b, g),
        reference.input_grad(dy, w, g, case.spatial),
        reference.weight_grad(x, dy, g),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_loops_agree_with_torch_in_float64(case: Case) -> None:
    x, w, b, dy = case.arrays(torch.float64)
    x, w = x.requires_grad_(), w.requires_grad_()
    (top, bottom), (left, right) = case.padding
    y = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (left, right, top, bottom)),
        w, b, case.stride, 0, case.dilation, case.groups,
    )  # fmt: skip
    dx, dw = torch.autograd.grad(y, (x, w), dy)
    for got, want in zip(exact(case), (y, dx, dw), strict=True):
        assert error(got, want.detach()) < 1e-13


@pytest.mark.parametrize(("row", "case", "dtype"), TRIED)
def test_convolution_agrees_with_the_float64_loops(
    row: Algorithm, case: Case, dtype: torch.dtype
) -> None:
    kernels, g = load(row), case.geometry
    x, w, b, dy = case.arrays(dtype)
    for layout in LAYOUTS:
        xs, ws, dys = (layout(t).numpy() for t in (x, w, dy))
        results = (
            kernels.forward(xs, ws, b.numpy(), g, 1),
            kernels.input_grad(dys, ws, g, case.spatial, 1),
            kernels.weight_grad(xs, dys, g, 1),
        )
        for got, want in zip(results, exact(case), strict=True):
            assert got.dtype == xs.dtype
            assert error(got, want) < TOLERANCE[dtype], layout.__name__


@pytest.mark.parametrize(("row", "case", "dtype"), [t for t in TRIED if "32" in str(t.id)])
def test_two_threads_give_what_one_gives(row: Algorithm, case: Case, dtype: torch.dtype) -> None:
    kernels, g = load(row), case.geometry
    x, w, b, dy = (t.numpy() for t in case.arrays(dtype))
    assert error(kernels.forward(x, w, b, g, 2), exact(case)[0]) < 1e-5
    assert error(kernels.input_grad(dy, w, g, case.spatial, 2), exact(case)[1]) < 1e-5
    assert error(kernels.weight_grad(x, dy, g, 2), exact(case)[2]) < 1e-5


def test_one_correlation_computes_transposed_convolution_too() -> None:
    window = Window(3, stride=2, padding=(1, 1))
    x, w = torch.randn(2, 4, 5, dtype=torch.float64), torch.randn(4, 3, 3, dtype=torch.float64)
    want = torch.nn.functional.conv_transpose1d(x, w, None, 2, 1, output_padding=1)
    backwards = w.numpy()[:, :, ::-1].swapaxes(0, 1)
    assert error(reference.correlate(x.numpy(), backwards, [window.adjoint(10)]), want) < 1e-14


@pytest.mark.parametrize("row", rows("convolution"))
def test_the_decks_convolutions_come_out_exactly(row: Algorithm) -> None:
    kernels = load(row)
    x, w = DECK_INPUT[None, None], DECK_KERNEL[None, None]
    slides = (
        (1, 0, [[12, 12, 17], [10, 17, 19], [9, 6, 14]]),
        (2, 1, [[6, 17, 3], [8, 17, 13], [6, 4, 4]]),
    )
    for stride, padding, want in slides:
        g = Geometry.of((5, 5), 3, stride, padding)
        if row.refuses(Problem("convolution", x.shape, "float64", geometry=g)) is not None:
            continue
        assert kernels.forward(x, w, None, g, 1)[0, 0].tolist() == want
        small = kernels.forward(x.astype("f4"), w.astype("f4"), None, g, 1)
        assert small[0, 0].tolist() == want


# --- the table ---------------------------------------------------------------------------------


def test_the_cheapest_that_can_is_chosen_and_every_row_explained() -> None:
    g = Geometry.of((8, 8), 3, in_channels=4, out_channels=4, groups=4)
    verdicts = explain(Problem("convolution", (1, 4, 8, 8), geometry=g))
    names = [v.algorithm.name for v in verdicts]
    assert names == ["depthwise", "winograd", "winograd1d", "amx", "gemm", "framework", "reference"]
    assert [v.algorithm.name for v in verdicts if v.chosen] == ["depthwise"]
    for v in verdicts:
        assert (v.refusal is None) == (v.cost is not None and v.workspace is not None)


@pytest.mark.parametrize(("dtype", "device"), [("float16", "cpu"), ("float32", "cuda")])
def test_what_ours_do_not_cover_the_framework_computes(dtype: str, device: str) -> None:
    g = Geometry.of((8, 8), 3)
    for op in ("convolution", "pooling", "batch_norm"):
        p = Problem(op, (1, 1, 8, 8), dtype, device, None if op == "batch_norm" else g)
        assert choose(p).name == "framework"
        assert all(v.refusal for v in explain(p) if v.algorithm.module is not None)


def test_a_named_algorithm_that_refuses_says_why() -> None:
    g = Geometry.of((8, 8), 3, in_channels=4, out_channels=4)
    p = Problem("convolution", (1, 4, 8, 8), geometry=g)
    with pytest.raises(InputError, match="one input and one output channel a group"):
        choose(p, "depthwise")
    with pytest.raises(
        InputError, match="known: auto, direct, depthwise, winograd, winograd1d, amx, gemm"
    ):
        choose(p, "fast")


@pytest.mark.parametrize(
    ("batch", "channels", "filters", "side", "name"),
    [(4, 64, 64, 56, "winograd"), (1, 3, 64, 224, "gemm"), (1, 16, 16, 4, "gemm")],
)
def test_winograd_is_chosen_where_its_transforms_pay(
    batch: int, channels: int, filters: int, side: int, name: str
) -> None:
    g = Geometry.of((side, side), 3, 1, 1, in_channels=channels, out_channels=filters)
    assert choose(Problem("convolution", (batch, channels, side, side), geometry=g)).name == name


def test_winograd_takes_inceptions_5x5_and_lines_and_leaves_the_rest_to_gemm() -> None:
    square = Geometry.of((35, 35), 5, 1, 2, in_channels=48, out_channels=64)
    assert choose(Problem("convolution", (1, 48, 35, 35), geometry=square)).name == "winograd"
    kernels = {(1, 7): "winograd1d", (7, 1): "winograd1d", (3, 5): "gemm", (7, 7): "gemm"}
    for kernel, name in kernels.items():
        g = Geometry.of((35, 35), kernel, in_channels=48, out_channels=64)
        assert choose(Problem("convolution", (1, 48, 35, 35), geometry=g)).name == name


@pytest.mark.parametrize("module", ["choose", "reference"])
def test_the_examples_run(module: str) -> None:
    assert doctest.testmod(import_module(f"convscape.kernels.{module}")).failed == 0


def test_the_page_on_kernels_says_what_happens() -> None:
    page = Path(__file__).parents[1] / "docs" / "kernels.md"
    result = doctest.testfile(str(page), False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def test_direct_takes_the_cheapest_that_sums_products_as_they_are() -> None:
    g = Geometry.of((56, 56), 3, 1, 1, in_channels=64, out_channels=64)
    assert choose(Problem("convolution", (1, 64, 56, 56), geometry=g), "direct").name == "gemm"
    each = Geometry.of((56, 56), 3, 1, 1, in_channels=64, out_channels=64, groups=64)
    wanted = Problem("convolution", (1, 64, 56, 56), geometry=each)
    assert choose(wanted, "direct").name == "depthwise"


def test_an_input_gradient_is_chosen_for_itself() -> None:
    # Few channels read are a short sum; few channels made leave lanes of the tile idle.
    g = Geometry.of((224, 224), 3, 1, 1, in_channels=3, out_channels=64)
    problem = Problem("convolution", (1, 3, 224, 224), geometry=g)
    assert choose(problem).name == "gemm"
    assert choose(replace(problem, direction="input_gradient")).name == "winograd"
    x, w = torch.randn(1, 3, 224, 224, requires_grad=True), torch.randn(64, 3, 3, 3)
    y = ops.conv2d(x, w, padding=1)
    dy = torch.randn(y.shape)
    dx = torch.autograd.grad(y, x, dy)[0].numpy()
    np.testing.assert_array_equal(
        dx, winograd.input_grad(dy.numpy(), w.numpy(), g, (224, 224), torch.get_num_threads())
    )


def test_a_weight_gradient_is_chosen_for_itself() -> None:
    g = Geometry.of((3, 3), 3, 1, 1, in_channels=512, out_channels=512)
    problem = Problem("convolution", (1, 512, 3, 3), geometry=g)
    assert choose(problem).name == "gemm"
    assert choose(replace(problem, direction="weight_gradient")).name == "winograd"


def test_weights_that_are_arranged_already_cost_the_matrix_product_nothing() -> None:
    g = Geometry.of((7, 7), 3, 1, 1, in_channels=512, out_channels=512)
    problem = Problem("convolution", (1, 512, 7, 7), geometry=g)
    assert choose(problem).name == "winograd"
    unit = "gemm" if amx_unit.missing() else "amx"
    assert choose(replace(problem, constant=True)).name == unit


# --- processes ---------------------------------------------------------------------------------


FORK = """
import multiprocessing
import numpy as np
from convscape import Geometry
from convscape.kernels import Problem, choose, load

g = Geometry.of((6, 6), 3, in_channels=2, out_channels=3)
x, w = np.ones((2, 2, 6, 6), "f4"), np.ones((3, 2, 3, 3), "f4")
kernels = load(choose(Problem("convolution", x.shape, geometry=g)))

def work(queue):
    queue.put(float(kernels.forward(x, w, None, g, 1).sum()))

kernels.forward(x, w, None, g, 2)
context = multiprocessing.get_context("fork")
queue = context.Queue()
worker = context.Process(target=work, args=(queue,))
worker.start()
print(queue.get(timeout=60))
worker.join(60)
assert worker.exitcode == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_computes_with_one_thread_after_a_parallel_call() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 2 * 3 * 4 * 4 * 18
