"""The implicit matrix product comes out the same whichever way its threads divide and pack it."""

from typing import Any

import numpy as np
import pytest
import torch

from convscape import Geometry, ops
from convscape.kernels import reference
from convscape.kernels.cpu import gemm, gemm_call, gemm_way
from convscape.kernels.cpu.gemm_pointwise import InPlace
from convscape.kernels.cpu.gemm_problem import Products, forward_product
from convscape.kernels.cpu.gemm_way import Way, way_of
from convscape.kernels.cpu.simd import SIMD
from tests.cases import CASES, DTYPES, TOLERANCE, Case, channels_last, error

EVEN = (
    Case("phases", 2, 60, (11, 9), 120, (3, 3), (2, 2), ((0, 1), (1, 1))),
    Case("phases_of_groups", 1, 120, (9, 8), 120, (3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2), 2),
)
"""Enough channels in both directions for two threads to divide."""

WAYS = {
    "some channels of all pixels": {"DEPTH": 1},
    "all channels of a block": {"_FEW": 0, "_LIGHT": 0},
    "all weights a thread": {"_FEW": 0, "_LIGHT": 1 << 30},
    "weights of everyone": {"_FEW": 0, "_LIGHT": 0, "_FAR_BYTES": 0},
}
"""What makes `way_of` choose each of its ways, whatever the size."""


def taken(way: Way) -> str:
    """The way's name above."""
    if not way.fresh:
        return "weights of everyone"
    if way.keep:
        return "all weights a thread"
    return "some channels of all pixels" if way.together else "all channels of a block"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*EVEN, *CASES], ids=lambda case: case.name)
@pytest.mark.parametrize("name", WAYS)
def test_every_way_makes_the_same_convolution_and_input_gradient(
    name: str, case: Case, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(products: Products, *given: Any) -> Way:
        way = way_of(products, *given)
        seen.append(taken(way))
        return way

    for constant, value in WAYS[name].items():
        monkeypatch.setattr(gemm_way, constant, value)
    monkeypatch.setattr(gemm_call, "_SPLIT_FROM", 0)
    monkeypatch.setattr(gemm_call, "way_of", noted)
    monkeypatch.setattr(gemm_call, "call_of", gemm_call.call_of.__wrapped__)  # keeps nothing
    x, weight, bias, dy = case.arrays(dtype)
    exact_x, exact_weight, exact_bias, exact_dy = (
        a.double().numpy() for a in (x, weight, bias, dy)
    )
    want = reference.forward(exact_x, exact_weight, exact_bias, case.geometry)
    back = reference.input_grad(exact_dy, exact_weight, case.geometry, case.spatial)
    for lay in (torch.Tensor.contiguous, channels_last):
        y = gemm.forward(lay(x).numpy(), weight.numpy(), bias.numpy(), case.geometry, threads)
        dx = gemm.input_grad(lay(dy).numpy(), weight.numpy(), case.geometry, case.spatial, threads)
        assert error(y, want) < TOLERANCE[dtype]
        assert error(dx, back) < TOLERANCE[dtype]
    if case in EVEN:
        assert set(seen) == {name}


def test_few_pixels_of_much_weight_are_divided_by_channels_and_the_others_by_pixels() -> None:
    def way(channels: int, side: int, threads: int = 2) -> Way:
        case = Case("", 1, channels, (side, side), channels, (3, 3))
        _, _, products = forward_product(case.geometry, 1, side, side, True)
        return way_of(products, True, channels * side**2, threads, SIMD.lanes(4))

    assert way(192, 17).together
    assert way(192, 17).by_channels
    assert way(64, 56).keep
    assert not way(64, 56).by_channels
    # A thread without a vector of its own would wait for the other.
    assert not way(8, 9).by_channels


def test_packed_weights_lie_in_memory_of_each_thread_and_are_bounded() -> None:
    case = Case("", 1, 512, (14, 14), 512, (3, 3))
    _, _, products = forward_product(case.geometry, 1, 14, 14, True)
    way = way_of(products, True, 512 * 14**2, 2, SIMD.lanes(4))
    assert 0 < way.room < np.prod(case.geometry.weight_shape) // 8


@pytest.mark.parametrize(
    ("shape", "k", "stride"),
    [((1, 1280, 8, 8), 67, 1), ((3, 301, 4, 5), 300, 1), ((1, 256, 9, 24), 259, 2)],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_few_pixels_are_multiplied_with_weights_that_nobody_packs(
    shape: tuple[int, ...], k: int, stride: int, threads: int
) -> None:
    generator = torch.Generator().manual_seed(k)
    x = channels_last(torch.randn(shape, generator=generator))
    w = torch.randn(k, shape[1], 1, 1, generator=generator) / shape[1] ** 0.5
    b = torch.randn(k, generator=generator)
    exact = torch.nn.functional.conv2d(x.double(), w.double(), b.double(), stride)
    g = Geometry.of(shape[2:], 1, stride, in_channels=shape[1], out_channels=k)
    call = gemm.bind(g, shape, x.stride(), w.stride(), "float32", threads)
    assert call is not None
    assert isinstance(call.fill, InPlace) == (SIMD.vectors * SIMD.lanes(4) >= 64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for relu, want in ((False, exact), (True, exact.relu()), (2.0, exact.clamp(0, 2))):
            found = ops.conv2d(x, w, b, stride, relu=relu)
            assert found.is_contiguous(memory_format=torch.channels_last)
            assert error(found, want) < 2e-6
    finally:
        torch.set_num_threads(before)


# Weights from 2^17 on are turned first, or with few pixels packed; fewer are read as they lie.
@pytest.mark.parametrize(
    ("shape", "k", "stride", "groups"),
    [
        ((1, 300, 7, 7), 449, 1, 1), ((2, 300, 9, 8), 449, 1, 1), ((1, 520, 13, 7), 530, 2, 2),
        ((2, 520, 13, 11), 530, 2, 2), ((1, 300, 7, 7), 69, 1, 1), ((1, 60, 5, 13), 80, 2, 4),
    ],
)  # fmt: skip
@pytest.mark.parametrize("threads", [1, 2])
def test_input_gradients_of_1x1_layers_in_plain_order_are_right(
    shape: tuple[int, ...], k: int, stride: int, groups: int, threads: int
) -> None:
    generator = torch.Generator().manual_seed(k)
    w = torch.randn(k, shape[1] // groups, 1, 1, generator=generator)
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.conv2d(x, w.double(), None, stride, 0, 1, groups)
    dy = torch.randn(y.shape, generator=generator)
    (want,) = torch.autograd.grad(y, x, dy.double())
    g = Geometry.of(shape[2:], 1, stride, in_channels=shape[1], out_channels=k, groups=groups)
    dx = gemm.input_grad(dy.numpy(), w.numpy(), g, (shape[2], shape[3]), threads)
    assert dx.flags.c_contiguous
    assert error(dx, want) < TOLERANCE[torch.float32]
