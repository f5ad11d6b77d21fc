"""Copies of runs set what they say, and nothing beside it."""

from typing import Any

import numpy as np
import pytest

from convscape.kernels.cpu.copy import copy_runs
from convscape.kernels.cpu.jit import entry
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
