"""What a long-running program relies on: threads, processes, caches, odd memory, other dtypes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch.nn import functional

import convscape
from convscape import ops
from convscape.kernels.cpu import threads
from convscape.kernels.cpu.divide import divide
from tests.cases import LAYOUTS, error

W, TURNED, DEPTH = torch.randn(6, 4, 3, 3), torch.randn(4, 5, 3, 3), torch.randn(4, 1, 3, 3)
ZEROS, ONES = torch.zeros(4), torch.full((4,), 2.0)

Call = Callable[[Any, torch.Tensor], torch.Tensor]


OPS: dict[str, Call] = {
    "conv2d": lambda f, x: f.conv2d(x, W.to(x), None, 2, 1),
    "conv2d_dense": lambda f, x: f.conv2d(x, W.to(x), None, 1, 1),
    "conv2d_depthwise": lambda f, x: f.conv2d(x, DEPTH.to(x), None, 1, 1, 1, 4),
    "conv_transpose2d": lambda f, x: f.conv_transpose2d(x, TURNED.to(x), None, 2, 1, 1),
    "max_pool2d": lambda f, x: f.max_pool2d(x, 3, 2, 1),
    "avg_pool2d": lambda f, x: f.avg_pool2d(x, 3, 2, 1),
    "batch_norm": lambda f, x: f.batch_norm(x, ZEROS.to(x), ONES.to(x)),
    "batch_norm_training": lambda f, x: f.batch_norm(x, None, None, training=True),
}
"""Every op, called the same way as torch's own: the first argument is whose."""

each_op = pytest.mark.parametrize("name", OPS)


@pytest.fixture(autouse=True)
def _threads_as_found() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(code: str, *arguments: str, **environment: str) -> str:
    """What a new Python process prints."""
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={k: v for k, v in env.items() if v},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- threads -----------------------------------------------------------------------------------


@each_op
def test_thread_settings_are_followed_and_left_as_found(name: str) -> None:
    x = torch.randn(3, 4, 9, 8)
    want = OPS[name](functional, x)
    for wanted in (2, 1, 3, 2):
        torch.set_num_threads(wanted)
        assert error(OPS[name](ops, x), want) < 1e-5
        assert torch.get_num_threads() == wanted


TEAMS = """
import os, sys, torch
import scipy.linalg  # Numba imports it, and it has a thread of its own
from convscape import ops

def count():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)
big, x, w = torch.randn(1 << 20), torch.randn(4, 8, 16, 16), torch.randn(8, 8, 3, 3)
torch.sigmoid(big)
found = [count()]
for _ in range(3):
    for _ in range(20):
        torch.sigmoid(big), ops.conv2d(x, w), ops.max_pool2d(x, 2)
    found.append(count())
print(*found)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_our_calls_use_the_threads_that_torch_has_started() -> None:
    found = [int(n) for n in run(TEAMS).split()]
    assert all(a == b for a, b in pairwise(found)), found


@each_op
def test_without_openmp_pythons_threads_compute(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 4, 29, 28)
    want = OPS[name](functional, x)
    torch.set_num_threads(2)
    OPS[name](ops, x[:2])  # kernels that are loaded without OpenMP never have it in this process
    monkeypatch.setattr(threads, "_libraries", list)
    threads.bind.cache_clear()
    try:
        assert threads.bind() is None
        assert error(OPS[name](ops, x), want) < 1e-5
    finally:
        monkeypatch.undo()
        threads.bind.cache_clear()
        assert threads.bind()


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_share_is_computed_once(parts: int) -> None:
    counts = np.zeros(parts)
    threads.launch(_count, parts, counts)
    assert counts.tolist() == [1] * parts


@pytest.mark.parametrize("parts", [1, 2])
def test_a_share_that_fails_raises(parts: int) -> None:
    with pytest.raises(MemoryError):
        threads.launch(_fail, parts, parts - 1)


@njit
def _count(part: int, parts: int, counts: Any) -> None:
    if divide(part, parts):
        return
    counts[part] += 1


@njit
def _fail(part: int, parts: int, bad: int) -> None:
    if divide(part, parts):
        return
    if part == bad:
        raise MemoryError


def test_several_python_threads_may_call_different_ops_at_once() -> None:
    x = torch.randn(4, 4, 16, 16)
    want = {name: call(functional, x) for name, call in OPS.items()}
    torch.set_num_threads(2)
    for call in OPS.values():
        call(ops, x)
    found: list[tuple[str, float]] = []

    def work(first: int) -> None:
        torch.set_num_threads(2)
        names = list(OPS)
        for turn in range(40):
            name = names[(first + turn) % len(names)]
            found.append((name, error(OPS[name](ops, x), want[name])))

    workers = [Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 160
    assert max(e for _, e in found) < 1e-5, found


# --- processes ---------------------------------------------------------------------------------


LOADER = """
import sys, torch
from torch.utils.data import DataLoader, Dataset
from convscape import ops

class Images(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        if sys.argv[1] != "default":
            torch.set_num_threads(int(sys.argv[1]))
        x = torch.full((1, 2, 6, 6), float(i))
        y = ops.conv2d(x, torch.ones(3, 2, 3, 3)).sum()
        z = ops.conv_transpose2d(x, torch.ones(2, 1, 1, 1)).sum()
        return y + z + ops.max_pool2d(x, 2).sum()

torch.set_num_threads(2)
x = torch.ones(8, 2, 16, 16)
ops.max_pool2d(ops.conv2d(x, torch.ones(3, 2, 3, 3)), 2)  # the team has started
torch.sigmoid(torch.ones(1 << 20))
loader = DataLoader(Images(), num_workers=2, multiprocessing_context="fork", timeout=60)
print(*(float(y) for y in loader))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("threads", ["default", "1", "2"])
def test_a_forked_data_loader_worker_computes_after_parallel_calls(threads: str) -> None:
    # Threads do not survive a fork; a worker that asks for two gets one, and a result.
    each = 3 * 16 * 18 + 2 * 9 + 36 * 2
    assert [float(y) for y in run(LOADER, threads).split()] == [i * each for i in range(4)]


GRADIENTS = """
import os
from dataclasses import replace
import numpy as np
import torch  # whose team of threads is used
from convscape import Geometry
from convscape.kernels import Problem, choose, load
from convscape.kernels.algorithm import DIRECTIONS

SETTINGS = (  # images, channels, output channels, side, kernel, groups
    (2, 16, 24, 6, 3, 1), (1, 512, 16, 7, 1, 1), (1, 64, 64, 28, 1, 1), (2, 16, 16, 24, 3, 1),
    (1, 256, 256, 14, 3, 1), (1, 96, 96, 56, 3, 96), (1, 7, 7, 90, 3, 7),
)

def results():
    random = np.random.default_rng(0)
    for n, c, k, side, kernel, groups in SETTINGS:
        g = Geometry.of((side, side), kernel, 1, kernel // 2, in_channels=c, out_channels=k,
                        groups=groups)
        for last in (False, True):
            x, w, dy = (
                random.standard_normal(shape).astype(np.float32)
                for shape in ((n, c, side, side), g.weight_shape, (n, k, side, side))
            )
            if last:
                x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                         for a in (x, dy))
            problem = Problem("convolution", x.shape, geometry=g)
            forward, back, along = (
                load(choose(replace(problem, direction=direction))) for direction in DIRECTIONS
            )
            yield forward.forward(x, w, None, g, 2)
            yield back.input_grad(dy, w, g, (side, side), 2)
            yield along.weight_grad(x, dy, g, 2)

want = [y.copy() for y in results()]
# What a share leaves out shall be found in the memory that the next results get.
dirty = [np.full(y.shape, np.nan, np.float32) for y in want for _ in range(3)]
del dirty
if os.fork() == 0:
    print(all(np.allclose(a, b, 1e-3, 1e-3) for a, b in zip(results(), want)), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_computes_every_share() -> None:
    assert run(GRADIENTS).split() == ["True"]


CACHED = """
import sys, torch
torch.set_num_threads(1)
from convscape import ops
import convscape
print(convscape.__file__)
print(float(ops.avg_pool2d(torch.ones(1, 1, 4, 4), 2).sum()))
"""


@pytest.mark.parametrize("home", ["writable", "blocked"])
def test_a_second_process_compiles_nothing(home: str, tmp_path: Path) -> None:
    # The package lies where nothing may be written; the home folder may be so, too.
    site, folder, temporary = tmp_path / "site", tmp_path / "home", tmp_path / "temporary"
    shutil.copytree(
        Path(convscape.__file__).parent, site / "convscape",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    for path in (*site.rglob("*"), site):
        path.chmod(0o555 if path.is_dir() else 0o444)
    temporary.mkdir()
    if home == "blocked":
        folder.write_text("a file, so no folder below it can be made, not even by root")
    environment = {
        "PYTHONPATH": str(site), "HOME": str(folder), "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": "", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    before = set(site.rglob("*"))
    found = []
    for _ in range(2):
        lines = run(CACHED, **environment).split()
        assert lines == [str(site / "convscape" / "__init__.py"), "4.0"]
        found.append({p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nb[ci]")})
    assert found[0]
    assert found[1] == found[0]
    assert set(site.rglob("*")) == before
    kept = temporary if home == "blocked" else folder
    assert all(path.is_relative_to(kept) for path in found[0])
    for path in (*site.rglob("*"), site):  # or the folder could not be removed
        path.chmod(0o755)


# --- memory ------------------------------------------------------------------------------------


@each_op
def test_any_strides_are_read_and_the_input_is_left_as_it_was(name: str) -> None:
    x = torch.randn(3, 4, 7, 8)
    want = OPS[name](functional, x)
    views = [layout(x) for layout in LAYOUTS]
    # Views into the middle of something larger, and one whose storage runs backwards in a batch.
    holder = torch.full((5, 9, 10, 12), torch.nan)
    holder[1:4, 2:6, 1:8, 3:11] = x
    views += [holder[1:4, 2:6, 1:8, 3:11], x.flip(0).contiguous().flip(0)]
    for view in views:
        kept = view.clone()
        assert error(OPS[name](ops, view), want) < 1e-5
        assert torch.equal(view, kept)


@each_op
def test_overlapping_memory_is_read_as_it_is(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for shape, strides in (((1, 1, 1, 8), (0, 0, 0, 1)), ((3, 4, 1, 2), (8, 2, 0, 0)),
                           ((1, 1, 1, 200), (40, 5, 3, 1))):  # fmt: skip
        memory = torch.randn(shape, generator=generator)
        x = memory.as_strided((3, 4, 7, 8), strides)
        mine, theirs = x.detach().requires_grad_(), x.clone().requires_grad_()
        y, want = OPS[name](ops, mine), OPS[name](functional, theirs)
        dy = torch.randn(want.shape[-1], generator=generator).expand(want.shape)
        (dx,), (want_dx,) = torch.autograd.grad(y, mine, dy), torch.autograd.grad(want, theirs, dy)
        if name == "batch_norm_training" and strides[2:] == (0, 0):
            continue  # constant channels: both divide their rounding by sqrt(eps)
        assert error(y.detach(), want.detach()) < 1e-5
        assert error(dx, want_dx) < 1e-5


@each_op
def test_an_empty_batch_has_an_empty_result_and_gradient(name: str) -> None:
    for last in (False, True):
        x = torch.randn(0, 4, 7, 8)
        x = (x.contiguous(memory_format=torch.channels_last) if last else x).requires_grad_()
        y = OPS[name](ops, x)
        assert y.shape == (0, *OPS[name](functional, torch.randn(2, 4, 7, 8)).shape[1:])
        (dx,) = torch.autograd.grad(y.sum(), x)
        assert dx.shape == x.shape


# --- other dtypes ------------------------------------------------------------------------------


@each_op
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_torchs(name: str, dtype: torch.dtype) -> None:
    # Many draws: two orders of one sum round alike most of the time.
    for x, layout in product(torch.randn(50, 2, 4, 9, 8).to(dtype), LAYOUTS):
        got, want = OPS[name](ops, layout(x)), OPS[name](functional, layout(x))
        assert got.dtype == want.dtype
        if name == "avg_pool2d":  # torch's sum by our counts: one more rounding
            torch.testing.assert_close(got, want)
        else:
            assert torch.equal(got, want)
