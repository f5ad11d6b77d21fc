"""The matrix product on the CPU's matrix unit: parts, ways, what it refuses."""

import ctypes
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from convscape import Geometry, ops
from convscape.arithmetic import InputError
from convscape.kernels import Problem, choose, explain, reference
from convscape.kernels.cpu import amx, amx_unit, amx_way
from convscape.kernels.cpu.amx_tiles import DEEP, SIDE
from convscape.kernels.cpu.amx_way import Way, way_of
from convscape.kernels.cpu.gemm_problem import Products
from tests.cases import CASES, Case, channels_last, error

needs_unit = pytest.mark.skipif(amx_unit.missing() is not None, reason=str(amx_unit.missing()))

TOLERANCE = 2e-6
"""Of an output over the outputs' root mean square."""

WIDE = (
    Case("even_blocks", 1, 128, (9, 7), 192, (1, 1)),
    Case("strided", 2, 64, (9, 11), 128, (3, 2), (2, 2), ((0, 1), (1, 1))),
    Case("dilation", 1, 160, (7, 8), 96, (2, 3), (1, 1), ((1, 1), (2, 2)), (2, 2)),
    Case("odd_channels", 1, 70, (6, 5), 131, (3, 3), (1, 1), ((1, 1), (1, 1))),
)
"""Channels enough for two threads to divide, and for sums of several pieces."""

DENSE = [*WIDE, *(case for case in CASES if case.groups == 1)]
"""Those without groups, which are refused."""

FOR_ITSELF = {"_LIGHT": 1 << 30}
PASSING = {"_LIGHT": 0, "_ALL_BYTES": 1 << 30}
OWN_CHANNELS = {"_LIGHT": 0, "_ALL_BYTES": 0, "_TWICE": 0}
TOGETHER = {"_LIGHT": 0, "_ALL_BYTES": 0, "_TWICE": 1 << 30}
WAYS = {
    "each for itself": FOR_ITSELF,
    "passing": PASSING,
    "own channels": OWN_CHANNELS,
    "together": TOGETHER,
    "small chunks": FOR_ITSELF | {"_NEAR_BYTES": 0, "_DEEP_BYTES": 0, "_DEPTH": 2},
    "small pieces": PASSING | {"_DEPTH": 1},
}
"""What makes `way_of` choose each of its ways, whatever the size."""


def keras(weight: torch.Tensor) -> torch.Tensor:
    """The same weights, their output channels side by side in memory."""
    return weight.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)


@needs_unit
def test_the_three_parts_of_a_weight_are_the_weight() -> None:
    weight = np.random.default_rng(0).standard_normal((48, 64, 1, 1)).astype(np.float32)
    weight[0, :4, 0, 0] = 0, 1, np.finfo(np.float32).max, -(2.0**-100)
    geometry = Geometry.of((1, 1), 1, in_channels=64, out_channels=48)
    parts = amx.pack(weight, geometry, 1).astype(np.uint32) << 16
    # (tile, block, part, j, column, half): of input channel j + 16 half of the block.
    sums = parts.view(np.float32).reshape(3, 2, 3, SIDE, SIDE, 2).astype(float).sum(2)
    got = sums.transpose(0, 3, 1, 4, 2).reshape(48, 2 * DEEP)
    assert (got == weight[:, :, 0, 0]).all()


@needs_unit
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", DENSE, ids=lambda case: case.name)
@pytest.mark.parametrize("name", WAYS)
def test_every_way_makes_the_same_convolution_and_input_gradient(
    name: str, case: Case, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Way] = []

    def noted(products: Products, deep: int, given: bool, *rest: Any) -> Way:
        way = way_of(products, deep, given, *rest)
        if not given:
            seen.append(way)
        return way

    for constant, value in WAYS[name].items():
        monkeypatch.setattr(amx_way, constant, value)
    monkeypatch.setattr(amx, "_SPLIT_FROM", 0)
    monkeypatch.setattr(amx, "way_of", noted)
    monkeypatch.setattr(amx, "_call_of", amx._call_of.__wrapped__)  # keeps nothing
    x, weight, bias, dy = case.arrays(torch.float32)
    exact_x, exact_weight, exact_bias, exact_dy = (
        a.double().numpy() for a in (x, weight, bias, dy)
    )
    want = reference.forward(exact_x, exact_weight, exact_bias, case.geometry)
    back = reference.input_grad(exact_dy, exact_weight, case.geometry, case.spatial)
    for lay in (torch.Tensor.contiguous, channels_last):
        xs, dys = lay(x).numpy(), lay(dy).numpy()
        for laid in (weight, channels_last(weight), keras(weight)):
            w = laid.numpy()
            y = amx.forward(xs, w, bias.numpy(), case.geometry, threads)
            dx = amx.input_grad(dys, w, case.geometry, case.spatial, threads)
            assert error(y, want) < TOLERANCE
            assert error(dx, back) < TOLERANCE
            made = amx.pack(w, case.geometry, threads)
            given_made = amx.forward(xs, w, bias.numpy(), case.geometry, threads, weights=made)
            assert error(given_made, want) < TOLERANCE
    if case.name == "even_blocks" and threads > 1:
        passing = WAYS[name].items() >= PASSING.items()
        assert {way.passing for way in seen} == {passing}
        assert {way.by_channels for way in seen} == {passing or name == "own channels"}
        assert {way.fresh for way in seen} == {name != "together"}


@needs_unit
def test_long_sums_lose_no_more_digits_than_short_ones() -> None:
    g = Geometry.of((6, 6), 3, padding=1, in_channels=512, out_channels=64)
    x, w = torch.randn(1, 512, 6, 6), torch.randn(64, 512, 3, 3)
    want = torch.nn.functional.conv2d(x.double(), w.double(), padding=1)
    assert error(amx.forward(x.numpy(), w.numpy(), None, g, 1), want) < TOLERANCE


@needs_unit
@pytest.mark.parametrize("relu", [False, True, 6.0])
def test_bias_and_relu_are_taken_on_the_way_out(relu: bool | float) -> None:
    x, w, b = torch.randn(2, 40, 5, 7), torch.randn(37, 40, 1, 1), torch.randn(37)
    want = torch.nn.functional.conv2d(x.double(), w.double(), b.double())
    if relu:
        want = want.clamp(0, None if relu is True else relu)
    for weight in (w, ops.ConstantWeight(w)):
        for lay in (torch.Tensor.contiguous, channels_last):
            y = ops.conv2d(lay(x), weight, b, relu=relu, algorithm="amx")
            assert error(y, want) < TOLERANCE


@needs_unit
def test_large_numbers_do_not_overflow_and_small_ones_count() -> None:
    x = torch.tensor([3e38, -1e-3, 2e-27]).expand(32, 3).T.contiguous()[:, :, None, None]
    w = torch.full((16, 32, 1, 1), 1e-3)
    want = torch.nn.functional.conv2d(x.double(), w.double())
    y = ops.conv2d(x, w, algorithm="amx").double()
    assert torch.allclose(y, want, rtol=1e-6, atol=0)


@needs_unit
def test_products_below_the_smallest_normal_number_are_zero() -> None:
    y = ops.conv2d(
        torch.full((1, 32, 1, 1), 1e-35), torch.full((1, 32, 1, 1), 1e-3), algorithm="amx"
    )
    assert (y == 0).all()


@needs_unit
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_the_outputs_that_read_it(value: float) -> None:
    x, w = torch.randn(1, 32, 9, 9), torch.randn(32, 32, 3, 3)
    clean = ops.conv2d(x, w, padding=1, algorithm="amx")
    x[0, 3, 4, 4] = value
    broken = ops.conv2d(x, w, padding=1, algorithm="amx")
    reads = torch.zeros(9, 9, dtype=torch.bool)
    reads[3:6, 3:6] = True
    assert broken[..., reads].isnan().all()
    assert torch.equal(broken[..., ~reads], clean[..., ~reads])


@needs_unit
def test_several_threads_of_python_have_tiles_of_their_own() -> None:
    w = torch.randn(64, 96, 1, 1)
    images = [torch.randn(1, 96, 5 + i, 9) for i in range(8)]
    alone = [ops.conv2d(x, w, algorithm="amx") for x in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(lambda x: ops.conv2d(x, w, algorithm="amx"), images))
            assert all(map(torch.equal, found, alone))


@needs_unit
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_computes_the_same() -> None:
    x, w = torch.randn(1, 64, 8, 8), torch.randn(64, 64, 1, 1)
    want = ops.conv2d(x, w, algorithm="amx")
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = torch.equal(ops.conv2d(x, w, algorithm="amx"), want)
        finally:
            os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


@needs_unit
def test_many_channels_are_its_own_and_few_are_not() -> None:
    def chosen(channels: int, side: int, constant: bool = True) -> str:
        g = Geometry.of((side, side), 1, in_channels=channels, out_channels=channels)
        shape = 1, channels, side, side
        return choose(Problem("convolution", shape, geometry=g, constant=constant)).name

    assert chosen(512, 28) == "amx"
    assert chosen(512, 28, constant=False) == "amx"
    assert chosen(16, 112) == "gemm"


@needs_unit
def test_a_strided_gradient_in_short_products_is_the_vector_units() -> None:
    g = Geometry.of((56, 56), 3, 2, 1, in_channels=128, out_channels=128)
    problem = Problem("convolution", (1, 128, 56, 56), geometry=g)
    assert choose(problem).name == "amx"
    assert choose(replace(problem, direction="input_gradient")).name == "gemm"


# --- where there is no such unit ------------------------------------------------------------------


def missing_when(
    monkeypatch: pytest.MonkeyPatch, system: str = "linux", flags: Any = amx_unit._FLAGS,
    lent: int = 0, variable: str | None = None,
) -> str:  # fmt: skip
    """What is missing on a machine that has all that is needed, but for what is said."""
    monkeypatch.setattr(amx_unit, "_flags", lambda: set(flags))
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    library = type("Library", (), {"syscall": lambda self, *given: lent})
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library())
    for name in amx_unit._OVERRIDES:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "generic")
    return str(amx_unit.missing.__wrapped__())


def test_why_the_unit_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_when(monkeypatch) == "None"
    assert "of Linux" in missing_when(monkeypatch, system="darwin")
    assert "bfloat16" in missing_when(monkeypatch, flags={"amx_tile", "avx512f"})
    assert "NUMBA_CPU_NAME overrides" in missing_when(monkeypatch, variable="NUMBA_CPU_NAME")
    assert "does not lend" in missing_when(monkeypatch, lent=-1)


def test_without_it_the_row_refuses_and_another_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx_unit, "missing", lambda: "needs the matrix unit")
    choose.cache_clear()
    try:
        g = Geometry.of((28, 28), 1, in_channels=512, out_channels=512)
        problem = Problem("convolution", (1, 512, 28, 28), geometry=g)
        assert choose(problem).name == "gemm"
        refusals = {v.algorithm.name: v.refusal for v in explain(problem)}
        assert refusals["amx"] == "needs the matrix unit"
        with pytest.raises(InputError, match="needs the matrix unit"):
            choose(problem, "amx")
    finally:
        choose.cache_clear()
