"""Parts of the matrix product that its results show only by chance."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numba import types

from convscape import Geometry, Window
from convscape.kernels import reference
from convscape.kernels.cpu import gemm
from convscape.kernels.cpu import gemm_weight_wide as wide
from convscape.kernels.cpu.clear import clear
from convscape.kernels.cpu.gemm_folded import folded
from convscape.kernels.cpu.gemm_pack import packed
from convscape.kernels.cpu.jit import Kept
from convscape.kernels.cpu.layout import is_channels_last
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.tile import block_vectors
from tests.cases import CASES, TOLERANCE, Case, channels_last, error


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
@pytest.mark.parametrize("taps", [(3, 3), (1, 1), (2, 3), (5, 5), (1, 3), (3, 1), (1, 7)])
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
    vectors = cast(Any, block_vectors).py_func
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


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("windows", "spatial"),
    [
        ((Window(3, 2, 1, 1, (1, 1)), Window(7, 2, 1, 1, (3, 3))), (16, 15)),
        ((Window(4, 3, 1, 1, (0, 2)), Window(3, 2, 1, 1, (2, 0))), (17, 10)),
        ((Window(5, 3, 1, 1, (-1, -2)), Window(3, 2, 1, 1, (-3, -1))), (20, 19)),  # cropped
        ((Window(3, 2), Window(5, 4)), (8, 24)),  # cells behind the last window
        ((Window(3, 2, 1, 1, (1, 1)), Window(3, 2, 1, 1, (0, 1))), (150, 149)),  # a team's work
    ],
)
def test_the_phases_of_few_channels_together_make_the_input_gradient(
    windows: tuple[Window, Window], spatial: tuple[int, int], channels: int, last: bool,
    threads: int,
) -> None:  # fmt: skip
    geometry = Geometry(windows, channels, 8)
    # Whether three channels' phases leave lanes idle depends on the vector.
    assert channels > 1 or folded(geometry, 4) is not None
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(geometry.weight_shape).astype(np.float32)
    dy = rng.standard_normal((2, *geometry.output_shape(spatial))).astype(np.float32)
    want = reference.input_grad(dy.astype(float), weight.astype(float), geometry, spatial)
    if last:
        dy = np.ascontiguousarray(dy.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    dx = gemm.input_grad(dy, weight, geometry, spatial, threads)
    np.testing.assert_allclose(dx, want, atol=1e-4)
    assert is_channels_last(dx) == (last or channels == 1)


def test_only_phases_that_leave_lanes_idle_are_taken_together() -> None:
    def found(channels: int, kernel: int, stride: int, groups: int = 1) -> Geometry | None:
        windows = (Window(kernel, stride),) * 2
        return folded(Geometry(windows, channels, 8, groups), 4)

    stem = found(1, 7, 2)
    assert stem is not None
    assert (stem.kernel, stem.in_channels, stem.out_channels) == ((4, 4), 4, 8)
    assert found(64, 3, 2) is None
    assert found(3, 3, 1) is None
    assert found(4, 3, 2, groups=2) is None


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("spatial", "k", "groups"),
    [((70, 78), 9, 1), ((40, 61), 24, 3), ((10, 20), 100, 1)],  # the last: one panel, for three
)
def test_pixels_shared_by_threads_make_one_weight_gradient(
    spatial: tuple[int, int], k: int, groups: int, last: bool, threads: int
) -> None:
    geometry = Geometry.of(spatial, 3, 1, 1, in_channels=3 * groups, out_channels=k, groups=groups)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3 * groups, *spatial)).astype(np.float32)
    dy = rng.standard_normal((1, k, *spatial)).astype(np.float32)
    want = reference.weight_grad(x.astype(float), dy.astype(float), geometry)
    if last:
        x, dy = (
            np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, dy)
        )
    dw = wide.weight_grad(x, dy, geometry, threads)
    np.testing.assert_allclose(dw, want, atol=1e-5 * float(abs(want).max()))


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("split", ["outputs", "rows", "pixels"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_weight_gradients_are_the_same_whatever_threads_divide_and_copy(
    case: Case, split: str, copies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided = {"outputs": wide._OUTPUTS, "rows": wide._ROWS, "pixels": wide._PIXELS}[split]
    monkeypatch.setattr(wide, "_split", lambda *_: divided)
    monkeypatch.setattr(wide, "_SPLIT_FROM", 0)
    monkeypatch.setattr(wide, "COMPETING", 1 if copies else 1 << 40)
    monkeypatch.setattr(wide, "COPIES_ROWS", True)
    monkeypatch.setattr(wide, "_plan", wide._plan.__wrapped__)  # keeps nothing
    x, _, _, dy = case.arrays(torch.float32)
    want = reference.weight_grad(x.double().numpy(), dy.double().numpy(), case.geometry)
    for lay in (torch.Tensor.contiguous, channels_last):
        dw = wide.weight_grad(lay(x).numpy(), lay(dy).numpy(), case.geometry, 2)
        assert error(dw, want) < TOLERANCE[torch.float32]


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("channels", [(640, 528), (1024, 70)])
def test_weight_gradients_of_more_rows_than_stay_near(
    channels: tuple[int, int], copies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several lots of copied rows; with 640 x 528 also several lots of sums.
    monkeypatch.setattr(wide, "COPIES_ROWS", copies)
    monkeypatch.setattr(wide, "_plan", wide._plan.__wrapped__)  # keeps nothing
    geometry = Geometry.of((19, 15), 1, in_channels=channels[0], out_channels=channels[1])
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((1, 19, 15, many)).astype(np.float32) for many in channels)
    want = np.einsum("nhwc,nhwk->kc", x.astype(float), dy.astype(float))[..., None, None]
    x, dy = (a.transpose(0, 3, 1, 2) for a in (x, dy))
    assert error(wide.weight_grad(x, dy, geometry, 1), want) < TOLERANCE[torch.float32]


def test_processes_that_compile_at_once_find_their_own_versions(tmp_path: Path) -> None:
    # One saves between another's two steps, as it happens on a cache that is new.
    made = [Kept(cache_path=str(tmp_path), filename_base="kernel", source_stamp=0) for _ in "ab"]
    single, double = (types.float32,), (types.float64,)
    later = made[1]._save_data

    def interrupted(name: str, data: Any) -> None:
        made[0].save(single, "single")
        later(name, data)

    made[1]._save_data = interrupted
    made[1].save(double, "double")
    for file in made:
        assert file.load(single) == "single"
        assert file.load(double) == "double"
        assert file.load((types.int64,)) is None
