"""Parts of the matrix product that its results show only by chance."""

from typing import Any

import numpy as np
import pytest

from convscape.kernels.cpu.clear import clear
from convscape.kernels.cpu.gemm_pack import packed
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.tile import block_vectors


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "shape", [(2, 3, 7, 5), (1, 1, 4, 4), (2, 5, 1, 1), (3, 4, 1, 6), (1, 2, 6, 1), (1, 40, 60, 60)]
)
def test_what_no_cell_reaches_is_zero_whatever_lay_there(
    shape: tuple[int, int, int, int], last: bool, threads: int
) -> None:
    n, c, h, w = shape
    stride, phases = (2, 3), [(0, 0), (1, 2), (0, 2)]
    turned = np.full((n, h, w, c), np.nan, np.float32).transpose(0, 3, 1, 2)
    y = turned if last else np.full(shape, np.nan, np.float32)
    clear(y, stride, phases, threads)
    for i, j in phases:
        assert (y[:, :, i::2, j::3] == 0).all()
    if last and c > 1:  # elsewhere whole lines may be cleared
        assert np.isnan(y[:, :, 1::2, 0::3]).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("taps", [(3, 3), (1, 1), (2, 3), (5, 5)])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_weight_is_packed_into_its_lane(
    dtype: Any, turned: bool, taps: tuple[int, int], threads: int
) -> None:
    lanes = SIMD.lanes(np.dtype(dtype).itemsize)
    shape = (2, 37, 41, *taps)
    weight = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    if turned:  # as the input gradient reads it
        weight = np.ascontiguousarray(weight.transpose(0, 2, 1, 3, 4)).transpose(0, 2, 1, 3, 4)
    vectors: Any = block_vectors
    want: list[Any] = []
    for group in weight:
        k = 0
        while k < len(group):
            width = vectors(len(group) - k, lanes) * lanes
            block = np.zeros((*taps, group.shape[1], width), dtype)
            some = group[k : k + width]
            block[..., : len(some)] = some.transpose(2, 3, 1, 0)
            want.append(block.reshape(-1))
            k += width
    np.testing.assert_array_equal(packed(weight, threads), np.concatenate(want))
