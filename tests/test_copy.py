"""Copies of runs set what they say, and nothing beside it."""

from typing import Any

import numpy as np
import pytest

from convscape.kernels.cpu import memory
from convscape.kernels.cpu.copy import copy_runs
from convscape.kernels.cpu.jit import entry
from convscape.kernels.cpu.layout import padded
from convscape.kernels.cpu.simd import SIMD

_GUARD = 7.0


@entry
def _copy(source: Any, step: int, target: Any, to: int, run: int, count: int) -> None:
    copy_runs(source, 0, step, target, to, run, count)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 17])
@pytest.mark.parametrize("gap", [0, 5])
def test_runs_become_neighbours(gap: int, count: int, dtype: Any) -> None:
    lanes = SIMD.lanes(np.dtype(dtype).itemsize)
    for run in (1, 2, 3, 6, lanes - 1, lanes, lanes + 1, 2 * lanes + 3):
        step = run + gap
        # The source ends with the last run: reading behind it would leave the array.
        source = np.arange(max(0, (count - 1) * step + run), dtype=dtype)
        target = np.full(count * run + 2 * lanes, _GUARD, dtype)
        _copy(source, step, target, lanes, run, count)
        wanted = [source[i * step : i * step + run] for i in range(count)]
        assert target[lanes : lanes + count * run].tolist() == [v for w in wanted for v in w]
        assert (target[:lanes] == _GUARD).all()
        assert (target[lanes + count * run :] == _GUARD).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 17, 32, 33, 100])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 0), (0, 2)), ((2, 1), (0, 0))])
def test_images_of_fewer_lines_than_threads_are_turned_whole(
    padding: Any, channels: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "empty", lambda count, dtype: np.full(count, np.nan, dtype))
    x = np.arange(channels * 49, dtype=np.float32).reshape(1, channels, 7, 7)
    line, _ = padded(x, padding, threads)
    want = np.pad(x, ((0, 0), (0, 0), *padding)).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(line.reshape(want.shape), want)
