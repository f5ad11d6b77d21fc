"""Memory that is kept between calls: never shared, bounded, and refused before it is too large."""

import gc
import subprocess
import sys

import numpy as np
import pytest
import torch

from convscape import ops
from convscape.arithmetic import InputError
from convscape.kernels.cpu import memory

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def _start_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, which keeps what it would where the allocator keeps nothing."""
    monkeypatch.setattr(memory, "_KEPT_FROM", MEGABYTE // 4)
    gc.collect()
    memory.release()


@pytest.mark.parametrize("count", [0, 1, 1000, 1 << 14, MEGABYTE, 3 * MEGABYTE + 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_arrays_begin_at_a_cache_line_unless_they_are_small(count: int, dtype: type) -> None:
    a = memory.empty(count, dtype)
    assert a.shape == (count,)
    assert a.dtype == dtype
    assert a.nbytes < 1 << 14 or a.ctypes.data % memory.LINE == 0
    a[:] = 7


def test_a_block_returns_only_when_every_view_is_gone() -> None:
    a = memory.empty(MEGABYTE, np.float32)
    address = a.ctypes.data
    view = torch.from_numpy(a.reshape(1024, 1024)[3:, ::2])
    del a
    assert memory.held() == 0
    other = memory.empty(MEGABYTE, np.float32)
    assert other.ctypes.data != address
    del view
    assert memory.held() >= 4 * MEGABYTE
    assert memory.empty(MEGABYTE, np.float32).ctypes.data == address


def test_no_two_arrays_in_use_share_memory() -> None:
    rng = np.random.default_rng(0)
    in_use: dict[int, np.ndarray] = {}
    for turn in range(300):
        a = memory.empty(int(rng.choice([MEGABYTE // 4, MEGABYTE // 3, MEGABYTE])), np.float32)
        a[:] = turn
        in_use[turn] = a
        if len(in_use) > 8:
            del in_use[int(rng.choice(list(in_use)))], a
        assert all((v == k).all() for k, v in in_use.items())


def test_what_is_kept_stays_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LIMIT", 20 * MEGABYTE)
    arrays = [memory.empty((i + 1) * MEGABYTE, np.uint8) for i in range(12)]
    while arrays:
        arrays.pop()
        assert memory.held() <= 20 * MEGABYTE
    assert memory.held() > 0
    memory.release()
    assert memory.held() == 0


def test_garbage_collected_while_the_store_is_locked_is_not_lost() -> None:
    a = memory.empty(MEGABYTE, np.float32)
    with memory._store._lock:
        del a  # as the collector would, in the thread that holds the lock
    memory.empty(1, np.float32)
    again = memory.empty(2 * MEGABYTE, np.float32)  # sorts in what was returned
    assert memory.held() >= 4 * MEGABYTE
    del again


STEPS = """
import resource, sys
import numpy as np
from convscape.kernels.cpu import memory

def faults(megabytes, calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        held = [memory.empty(megabytes << 20, np.uint8) for _ in range(4)]
        for block in held:
            block[::4096] = 1
        del held, block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

size = int(sys.argv[1])
faults(size, 3)
print(faults(size, 20) / (20 * 4 * size * 256))
"""


@pytest.mark.parametrize("megabytes", [1, 3, 8, 16, 40])
def test_a_step_finds_the_memory_that_the_last_one_freed(megabytes: int) -> None:
    # In the store, or with the allocator where the store leaves it the blocks; in a new process,
    # whose allocator has seen nothing else. Printed is the share of pages that had to be mapped.
    pytest.importorskip("resource")
    given = [sys.executable, "-c", STEPS, str(megabytes)]
    done = subprocess.run(given, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.1


def test_large_results_are_made_of_memory_that_is_kept() -> None:
    # 1x1 and 3x3 by Winograd, forward and back: 36 MiB each.
    x = torch.ones(1, 16, 768, 768).contiguous(memory_format=torch.channels_last).requires_grad_()
    for side in (1, 3):
        memory.release()
        y = ops.conv2d(x, torch.ones(16, 16, side, side), None, 1, side // 2)
        address = y.data_ptr()
        assert y.is_contiguous(memory_format=torch.channels_last)
        (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
        assert dx.data_ptr() != address
        del y
        assert memory.held() >= 36 * MEGABYTE
        again = ops.conv2d(x, torch.ones(16, 16, side, side), None, 1, side // 2)
        assert again.data_ptr() == address


def test_a_result_that_cannot_fit_is_refused_with_its_bytes() -> None:
    x = torch.zeros(1, 1, 1, 1).expand(1, 1, 3_000_000, 3_000_000)
    with pytest.raises(InputError, match=r"36,000,000,000,000 bytes"):
        ops.max_pool2d(x, 1)
    # So it is where a kernel is told addresses.
    with pytest.raises(InputError, match="bytes asked for"):
        ops.conv2d(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), None, 1, 10**6)
