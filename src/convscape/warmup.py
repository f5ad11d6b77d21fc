"""Compile every kernel ahead of time, so that no first call has to wait.

What to compile is not listed anywhere: the ops are called on small arrays with every algorithm of
the table, in every type and memory layout, forwards and backwards to the second order, and
Numba keeps what that compiles. Numba compiles under one lock, so processes share the work.
"""

import pkgutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba.core.registry import CPUDispatcher
from torch import Tensor

from convscape import ops
from convscape.arithmetic.errors import InputError
from convscape.kernels import TABLE, cpu
from convscape.kernels.cpu import add, amx, amx_unit, clip, memory, tape
from convscape.kernels.cpu.threads import bind

Version = tuple[str, tuple[Any, ...]]
"""A compiled function: its dotted name, and the Numba types of its arguments."""

TYPES = ("float32", "float64")
SIDES = (12, 72)  # of an image; a large one has long lines, many tiles, and work for a team


@dataclass(frozen=True, slots=True)
class Job:
    """The share of one process: an algorithm, or what lies between layers, in one type."""

    op: str
    algorithm: str
    dtype: str

    @property
    def name(self) -> str:
        """Such as "convolution: gemm, float32"."""
        return f"{self.op}: {self.algorithm}, {self.dtype}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a warm-up did.

    Args:
        jobs: Jobs done.
        compiled: Functions that had to be compiled.
        seconds: How long it took.
        folder: Where the compiled code is.
        bytes: Size of that folder.
    """

    jobs: int
    compiled: int
    seconds: float
    folder: Path
    bytes: int


def jobs() -> list[Job]:
    """A job for each compiled algorithm of the table and each type."""
    ours = [row for row in TABLE if row.module and row.module.startswith(f"{cpu.__name__}.")]
    whats = [*((row.op, row.name) for row in ours), ("networks", "replay")]
    # One type after the other: what works side by side then has little in common.
    return [Job(*what, dtype) for dtype in TYPES for what in whats]


def warm(workers: int, done: Callable[[Job], None] = lambda _: None) -> Outcome:
    """Compile everything that is not yet compiled.

    Args:
        workers: Processes.
        done: Called after each job.

    Returns:
        What was done.
    """
    began = time.perf_counter()
    todo = jobs()
    with _pool(min(workers, len(todo))) as pool:
        running = {pool.submit(run, job): job for job in todo}
        compiled: list[Version] = []
        for finished in as_completed(running):
            compiled += finished.result()
            done(running[finished])
    if compiled and workers > 1:
        # Of two processes that kept one function's versions at once, the later one won: what the
        # other compiled is made up for here.
        with _pool(1) as pool:
            compiled += pool.submit(make_up, set(compiled)).result()
    folder = cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Outcome(len(todo), len(compiled), time.perf_counter() - began, folder, size)


def _pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes: a fork would lack threads."""
    return ProcessPoolExecutor(workers, get_context("spawn"))


def run(job: Job) -> list[Version]:
    """Do one job in this process; what had to be compiled."""
    before = missed()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # a team runs the same code, but where a setting asks for it
        if job.op == "networks":
            _networks(getattr(torch, job.dtype))
        else:
            for call in _calls(job):
                _backwards(*call)
    finally:
        torch.set_num_threads(threads)
    return list((missed() - before).elements())


def make_up(versions: Iterable[Version]) -> list[Version]:
    """Compile what of this is not kept; what had to be compiled."""
    bind()  # compiled code names its functions
    before, known = missed(), dispatchers()
    for name, types in versions:
        known[name].compile(types)
    return list((missed() - before).elements())


def dispatchers() -> dict[str, Any]:
    """Every compiled function of the kernels that this CPU can run, by its dotted name."""
    found = {}
    unable = f"{amx.__name__}_" if amx_unit.missing() else None
    for info in pkgutil.walk_packages(cpu.__path__, f"{cpu.__name__}."):
        if unable and info.name.startswith(unable):
            continue
        for name, value in vars(import_module(info.name)).items():
            if isinstance(value, CPUDispatcher) and value.__module__ == info.name:
                found[f"{info.name}.{name}"] = value
    return found


def missed() -> Counter[Version]:
    """What this process compiled because the cache did not have it."""
    return Counter(
        {
            (name, types): count
            for name, dispatcher in dispatchers().items()
            for types, count in dispatcher.stats.cache_misses.items()
        }
    )


def cache_folder() -> Path:
    """Where Numba keeps what it compiles."""
    return Path(next(iter(dispatchers().values())).stats.cache_path).parent


def _networks(dtype: torch.dtype) -> None:
    """What an accelerated model calls beside its layers' kernels: for weights, and between them."""
    x = torch.zeros(1, 32, 6, 6, dtype=dtype).contiguous(memory_format=torch.channels_last)
    settings = [
        ((8, 3, 3, 3), 1, "auto"), ((8, 32, 1, 1), 1, "auto"), ((32, 1, 3, 3), 32, "auto")
    ]  # fmt: skip
    if dtype == torch.float32:
        settings.append(((8, 32, 1, 3), 1, "winograd1d"))
        if not amx_unit.missing():
            settings.append(((8, 32, 1, 1), 1, "amx"))
    for shape, groups, algorithm in settings:
        weight = ops.ConstantWeight(torch.zeros(shape, dtype=dtype))
        given = x[:, : shape[1] * groups]
        ops.conv2d(given, weight, groups=groups, relu=6.0, algorithm=algorithm)
    first, second = (np.ones((1, 8, 4, 4), torch.zeros(0, dtype=dtype).numpy().dtype) for _ in "ab")
    played = tape.Tape()
    with played.recording():
        add.add(first, second, True, 1)
        add.join([first, second], 1)
        clip.limit(memory.address(first), first.size, 6.0, first.dtype, 1)
    played.play()


def _calls(job: Job) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """Results and what they are to be differentiated by; settings that are refused are skipped."""
    dtype = getattr(torch, job.dtype)
    makers = {"convolution": _convolutions, "pooling": _poolings, "batch_norm": _norms}
    for make in makers[job.op](job.algorithm):
        for side in SIDES:
            for form in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(2, 32, side, side, dtype=dtype).contiguous(memory_format=form)
                for grad in (False, True):
                    try:
                        yield make(x.requires_grad_(grad))
                    except InputError:
                        break


Maker = Callable[[Tensor], tuple[Tensor, tuple[Tensor, ...]]]


def _convolutions(algorithm: str) -> Iterator[Maker]:
    def maker(
        k: int, rows: int, stride: int, groups: int, bias: bool, keras: bool, c: int = 32,
        columns: int = 0, threads: int = 1,
    ) -> Maker:  # fmt: skip
        def make(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            torch.set_num_threads(threads)
            kernel = rows, columns or rows
            w = torch.randn(k, c // groups, *kernel, dtype=x.dtype)
            if keras:  # (rows, columns, in, out) in memory
                w = w.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
            w.requires_grad_(x.requires_grad)
            b = torch.randn(k, dtype=x.dtype) if bias else None
            padding = [cells // 2 for cells in kernel]
            y = ops.conv2d(x[:, :c], w, b, stride, padding, groups=groups, algorithm=algorithm)
            return y, (x, w)

        return make

    for other in (False, True):
        given = other, other  # what one of the two changes, the other does not
        yield maker(48, 3, 1, 1, *given)
        yield maker(20, 1, 1, 1, *given)
        yield maker(48, 1, 1, 1, *given, columns=7)
        yield maker(16, 3, 1, 1, *given, c=3)
        yield maker(16, 3, 2, 1, *given, c=3)
        yield maker(16, 3, 2, 2, *given)
        yield maker(48, 1, 2, 1, *given)
        yield maker(32, 3, 1, 32, *given)
        yield maker(32, 3, 2, 32, *given)
        yield maker(32, 5, 1, 32, *given)
        # Threads that share the few channels of a weight gradient have sums to put together.
        yield maker(8, 3, 1, 8, *given, c=8, threads=2)


def _poolings(algorithm: str) -> Iterator[Maker]:
    def maker(op: Callable[..., Tensor], kernel: int, stride: int, padding: int) -> Maker:
        return lambda x: (op(x, kernel, stride, padding, algorithm=algorithm), (x,))

    for op in (ops.max_pool2d, ops.avg_pool2d):
        for window in ((2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, 2)):
            yield maker(op, *window)
        for side in SIDES:
            yield maker(op, side, 1, 0)


def _norms(algorithm: str) -> Iterator[Maker]:
    def maker(training: bool, flat: bool) -> Maker:
        def make(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            gamma, beta, mean = (torch.randn(32, dtype=x.dtype) for _ in range(3))
            for parameter in (gamma, beta):
                parameter.requires_grad_(x.requires_grad)
            data = x[:, :, 0, 0] if flat else x
            y = ops.batch_norm(
                data, mean, mean.square() + 1, gamma, beta, training, algorithm=algorithm
            )
            return y, (x, gamma, beta)

        return make

    for training in (False, True):
        yield maker(training, flat=False)
        yield maker(training, flat=True)


def _backwards(y: Tensor, inputs: Sequence[Tensor]) -> None:
    """Both gradients and theirs, with an output gradient of y's layout and of the other."""
    if not y.requires_grad:
        return
    forms = [torch.contiguous_format, torch.channels_last] if y.dim() == 4 else [None]
    for form in forms:
        dy = torch.randn_like(y)
        if form is not None:
            dy = dy.contiguous(memory_format=form)
        dy.requires_grad_()
        grads = torch.autograd.grad(y, inputs, dy, create_graph=True, retain_graph=True)
        moving = [g for g in grads if g.requires_grad]
        if moving:
            torch.autograd.grad(moving, [dy, *inputs], [torch.ones_like(g) for g in moving],
                                allow_unused=True, retain_graph=True)  # fmt: skip
